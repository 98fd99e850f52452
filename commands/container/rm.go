package container

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// removeOptions are the flags and arguments of `rm`.
type removeOptions struct {
	containers []string
	volumes    bool
	link       bool
	force      bool
}

// Remover removes containers.
type Remover interface {
	ContainerRemove(ctx context.Context, id string, options container.RemoveOptions) error
}

// NewRemove gives the `rm` command.
func NewRemove(env *cmdenv.Env) *cobra.Command { return newRemoveCommand(env, nil) }

func newRemoveCommand(env *cmdenv.Env, hook func(*removeOptions) error) *cobra.Command {
	o := &removeOptions{}
	cmd := &cobra.Command{
		Use:   "rm [OPTIONS] CONTAINER [CONTAINER...]",
		Short: "Remove one or more containers",
		Args:  cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Containers(env, true, func(c container.Summary) bool {
			return o.force || isStopped(c)
		}),
		Annotations: cmdenv.AlsoKnownAs("container rm", "container remove", "rm"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.containers = args
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runRemove(cmd.Context(), env, api, o)
		},
	}
	cmd.Flags().BoolVarP(&o.volumes, "volumes", "v", false, "Remove anonymous volumes associated with the container")
	cmd.Flags().BoolVarP(&o.link, "link", "l", false, "Remove the specified link")
	cmd.Flags().BoolVarP(&o.force, "force", "f", false, "Force the removal of a running container (uses SIGKILL)")
	return cmd
}

func isStopped(c container.Summary) bool {
	return c.State == container.StateExited || c.State == container.StateCreated
}

func runRemove(ctx context.Context, env *cmdenv.Env, api Remover, o *removeOptions) error {
	results := each(ctx, o.containers, func(ctx context.Context, name string) error {
		id := strings.Trim(name, "/")
		if id == "" {
			return errors.New("container name cannot be empty")
		}
		return api.ContainerRemove(ctx, id, container.RemoveOptions{RemoveVolumes: o.volumes, RemoveLinks: o.link, Force: o.force})
	})
	var errs []error
	for i, name := range o.containers {
		switch err := results[i]; {
		case err == nil:
			fmt.Fprintln(env.Out, name)
		case o.force && errdefs.IsNotFound(err):
			fmt.Fprintln(env.Err, err) // forced: gone is what was wanted
		default:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
