package volume

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/volume"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

type createOptions struct {
	name       string
	driver     string
	driverOpts *opts.MapOpts
	labels     opts.ListOpts
}

type creator interface {
	VolumeCreate(ctx context.Context, options volume.CreateOptions) (volume.Volume, error)
}

func newCreate(env *cmdenv.Env) *cobra.Command {
	o := &createOptions{driverOpts: opts.NewMapOpts(nil, nil), labels: opts.NewListOpts(opts.ValidateLabel)}
	cmd := &cobra.Command{
		Use:   "create [OPTIONS] [VOLUME]",
		Short: "Create a volume",
		Args:  cmdenv.MaxArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if o.name != "" {
					return errors.New("conflicting options: cannot specify a volume-name through both --name and as a positional arg")
				}
				o.name = args[0]
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runCreate(cmd.Context(), api, env.Out, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.driver, "driver", "d", "local", "Specify volume driver name")
	flags.StringVar(&o.name, "name", "", "Specify volume name")
	flags.Lookup("name").Hidden = true
	flags.VarP(o.driverOpts, "opt", "o", "Set driver specific options")
	flags.Var(&o.labels, "label", "Set metadata for a volume")
	complete.Flag(cmd, "driver", complete.Words("local"))
	return cmd
}

func runCreate(ctx context.Context, api creator, out io.Writer, o *createOptions) error {
	created, err := api.VolumeCreate(ctx, volume.CreateOptions{
		Name:       o.name,
		Driver:     o.driver,
		DriverOpts: o.driverOpts.GetAll(),
		Labels:     opts.ConvertKVStringsToMap(o.labels.GetSlice()),
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(out, created.Name)
	return nil
}
