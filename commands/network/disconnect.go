package network

import (
	"context"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type disconnectOptions struct {
	network   string
	container string
	force     bool
}

type disconnector interface {
	NetworkDisconnect(ctx context.Context, name, container string, force bool) error
}

func newDisconnect(env *cmdenv.Env, hook func(*disconnectOptions) error) *cobra.Command {
	o := &disconnectOptions{}
	cmd := &cobra.Command{
		Use:   "disconnect [OPTIONS] NETWORK CONTAINER",
		Short: "Disconnect a container from a network",
		Args:  cmdenv.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.network, o.container = args[0], args[1]
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runDisconnect(cmd.Context(), api, o)
		},
		ValidArgsFunction: completeEnds(env, true),
	}
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Force the container to disconnect from a network")
	return cmd
}

func runDisconnect(ctx context.Context, api disconnector, o *disconnectOptions) error {
	return api.NetworkDisconnect(ctx, o.network, o.container, o.force)
}
