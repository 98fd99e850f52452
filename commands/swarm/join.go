package swarm

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

type joinOptions struct {
	addressOptions
	token string
}

type joiner interface {
	infoer
	SwarmJoin(ctx context.Context, req swarm.JoinRequest) error
}

func newJoin(env *cmdenv.Env, hook func(swarm.JoinRequest) error) *cobra.Command {
	o := &joinOptions{addressOptions: newAddressOptions()}
	cmd := &cobra.Command{
		Use:   "join [OPTIONS] HOST:PORT",
		Short: "Join a swarm as a node and/or manager",
		Args:  cmdenv.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			req, err := o.request(cmd, args[0])
			if err != nil {
				return err
			}
			if hook != nil {
				return hook(req)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			if err := runJoin(cmd.Context(), api, env.Out, req); err != nil {
				return explainJoin(cmd.Context(), err, req, proberFor(cmd.Context(), env))
			}
			warnDeaf(cmd.Context(), env, api)
			return nil
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	o.addressOptions.bind(cmd)
	cmd.Flags().StringVar(&o.token, "token", "", "Token for entry into the swarm")
	return cmd
}

func (o *joinOptions) request(cmd *cobra.Command, remote string) (swarm.JoinRequest, error) {
	req := swarm.JoinRequest{
		JoinToken:     o.token,
		ListenAddr:    o.listen.String(),
		AdvertiseAddr: o.advertise,
		DataPathAddr:  o.dataPath,
		RemoteAddrs:   []string{remote},
	}
	if !cmd.Flags().Changed("availability") {
		return req, nil
	}
	var err error
	req.Availability, err = parseAvailability(o.availability)
	return req, err
}

func runJoin(ctx context.Context, api joiner, out io.Writer, req swarm.JoinRequest) error {
	if err := api.SwarmJoin(ctx, req); err != nil {
		return err
	}
	info, err := api.Info(ctx)
	if err != nil {
		return err
	}
	role := "worker"
	if info.Swarm.ControlAvailable {
		role = "manager"
	}
	fmt.Fprintf(out, "This node joined a swarm as a %s.\n", role)
	return nil
}
