package container

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// startOptions are the flags and arguments of `start`.
type startOptions struct {
	containers []string
	attach     bool
	stdin      bool
	detachKeys string
}

// startAPI is what `start` asks of the daemon.
type startAPI interface {
	Inspector
	Starter
	foregroundAPI
}

// NewStart gives the `start` command.
func NewStart(env *cmdenv.Env) *cobra.Command { return newStartCommand(env, nil) }

func newStartCommand(env *cmdenv.Env, hook func(*startOptions) error) *cobra.Command {
	o := &startOptions{}
	cmd := &cobra.Command{
		Use:               "start [OPTIONS] CONTAINER [CONTAINER...]",
		Short:             "Start one or more stopped containers",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Containers(env, true, isStopped),
		Annotations:       cmdenv.AlsoKnownAs("container start", "start"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.containers = args
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			if o.attach || o.stdin {
				return startAttached(cmd.Context(), env, api, o)
			}
			return startAll(cmd.Context(), env, api, o.containers)
		},
	}
	cmd.Flags().BoolVarP(&o.attach, "attach", "a", false, "Attach STDOUT/STDERR and forward signals")
	cmd.Flags().BoolVarP(&o.stdin, "interactive", "i", false, "Attach container's STDIN")
	cmd.Flags().StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	return cmd
}

func startAll(ctx context.Context, env *cmdenv.Env, api Starter, containers []string) error {
	var failed []string
	for _, name := range containers {
		if err := api.ContainerStart(ctx, name, container.StartOptions{}); err != nil {
			fmt.Fprintln(env.Err, err)
			failed = append(failed, name)
			continue
		}
		fmt.Fprintln(env.Out, name)
	}
	if len(failed) > 0 {
		return fmt.Errorf("Error: failed to start containers: %s", strings.Join(failed, ", "))
	}
	return nil
}

func startAttached(ctx context.Context, env *cmdenv.Env, api startAPI, o *startOptions) error {
	if len(o.containers) > 1 {
		return errors.New("you cannot start and attach multiple containers at once")
	}
	c, err := api.ContainerInspect(ctx, o.containers[0])
	if err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx) // a signal is the container's affair
	if !c.Config.Tty {
		defer proxySignals(ctx, env.Log(), api, c.ID)()
	}
	f := foreground{
		env: env, api: api, id: c.ID, tty: c.Config.Tty,
		autoRemove: c.HostConfig != nil && c.HostConfig.AutoRemove,
		attach: &container.AttachOptions{
			Stream:     true,
			Stdin:      o.stdin && c.Config.OpenStdin,
			Stdout:     true,
			Stderr:     true,
			DetachKeys: o.detachKeys,
		},
	}
	return f.run(ctx, api)
}
