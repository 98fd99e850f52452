package node

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/render"
)

const pretty = "pretty"

type inspectOptions struct {
	nodes  []string
	format string
	pretty bool
}

func newInspect(env *cmdenv.Env, hook func(*inspectOptions) error) *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:   "inspect [OPTIONS] self|NODE [NODE...]",
		Short: "Display detailed information on one or more nodes",
		Args:  cmdenv.MinArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.nodes = args
			if o.pretty {
				o.format = pretty
			}
			if hook != nil {
				return hook(o)
			}
			if strings.HasPrefix(o.format, pretty) && o.format != pretty {
				return errors.New("cannot supply extra formatting options to the pretty template")
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runInspect(cmd.Context(), api, env.Out, o)
		},
		ValidArgsFunction: complete.Nodes(env),
	}
	flags := cmd.Flags()
	flags.StringVarP(&o.format, "format", "f", "", render.InspectFormatHelp)
	flags.BoolVar(&o.pretty, "pretty", false, "Print the information in a human friendly format")
	return cmd
}

// runInspect ends with code 1 whatever went wrong, a bad template included.
func runInspect(ctx context.Context, api inspector, out io.Writer, o *inspectOptions) error {
	get := func(ref string) (swarm.Node, error) {
		id, err := resolveSelf(ctx, api, ref)
		if err != nil {
			return swarm.Node{}, err
		}
		n, _, err := api.NodeInspectWithRaw(ctx, id)
		return n, err
	}
	if o.format == pretty {
		return inspectPretty(out, o.nodes, get)
	}
	err := render.Inspect(out, o.nodes, o.format, func(ref string) (any, []byte, error) {
		n, err := get(ref)
		return n, nil, err
	})
	if err != nil {
		return cmdenv.StatusError{Code: 1, Cause: err}
	}
	return nil
}

// inspectPretty prints nothing if any of the nodes cannot be had.
func inspectPretty(out io.Writer, refs []string, get func(string) (swarm.Node, error)) error {
	var b strings.Builder
	for _, ref := range refs {
		n, err := get(ref)
		if err != nil {
			return err
		}
		writePretty(&b, n)
	}
	_, err := io.WriteString(out, b.String())
	return err
}
