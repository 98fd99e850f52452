package network

import (
	"context"
	"io"

	"github.com/docker/docker/api/types/network"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/render"
)

type inspectOptions struct {
	names   []string
	format  string
	verbose bool
}

func newInspect(env *cmdenv.Env, hook func(*inspectOptions) error) *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] NETWORK [NETWORK...]",
		Short: "Display detailed information on one or more networks",
		Args:  cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.names = args
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runInspect(cmd.Context(), api, env.Out, o)
		},
		ValidArgsFunction: complete.Networks(env),
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.format, "format", "f", "", render.InspectFormatHelp)
	flags.BoolVarP(&o.verbose, "verbose", "v", false, "Verbose output for diagnostics")
	return cmd
}

func runInspect(ctx context.Context, api inspector, out io.Writer, o *inspectOptions) error {
	return render.Inspect(out, o.names, o.format, func(name string) (any, []byte, error) {
		return api.NetworkInspectWithRaw(ctx, name, network.InspectOptions{Verbose: o.verbose})
	})
}
