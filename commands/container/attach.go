package container

import (
	"context"
	"errors"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// attachOptions are the flags and arguments of `attach`.
type attachOptions struct {
	container  string
	noStdin    bool
	sigProxy   bool
	detachKeys string
}

// attachAPI is what `attach` asks of the daemon.
type attachAPI interface {
	Inspector
	foregroundAPI
}

// NewAttach gives the `attach` command.
func NewAttach(env *cmdenv.Env) *cobra.Command { return newAttachCommand(env, nil) }

func newAttachCommand(env *cmdenv.Env, hook func(*attachOptions) error) *cobra.Command {
	o := &attachOptions{}
	cmd := &cobra.Command{
		Use:   "attach [OPTIONS] CONTAINER",
		Short: "Attach local standard input, output, and error streams to a running container",
		Args:  cmdenv.ExactArgs(1),
		ValidArgsFunction: complete.Containers(env, false, func(c container.Summary) bool {
			return c.State != container.StatePaused
		}),
		Annotations: cmdenv.AlsoKnownAs("container attach", "attach"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.container = args[0]
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runAttach(cmd.Context(), env, api, o)
		},
	}
	cmd.Flags().BoolVar(&o.noStdin, "no-stdin", false, "Do not attach STDIN")
	cmd.Flags().BoolVar(&o.sigProxy, "sig-proxy", true, "Proxy all received signals to the process")
	cmd.Flags().StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	return cmd
}

func runAttach(ctx context.Context, env *cmdenv.Env, api attachAPI, o *attachOptions) error {
	c, err := inspectRunning(ctx, api, o.container)
	if err != nil {
		return err
	}
	if err := checkTTY(env, !o.noStdin, c.Config.Tty); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx)) // a signal is the container's affair
	defer cancel()
	ended := waitExit(ctx, api, c.ID, false)
	if o.sigProxy && !c.Config.Tty {
		defer proxySignals(ctx, env.Log(), api, c.ID)()
	}
	s, err := attach(ctx, env, api, c.ID, c.Config.Tty, container.AttachOptions{
		Stream:     true,
		Stdin:      !o.noStdin && c.Config.OpenStdin,
		Stdout:     true,
		Stderr:     true,
		DetachKeys: o.detachKeys,
	})
	if err != nil {
		return err
	}
	defer s.close()
	// A container that ended before the attachment would be waited for in vain.
	if _, err := inspectRunning(ctx, api, o.container); err != nil {
		return err
	}
	if c.Config.Tty && cmdenv.TerminalOf(env.Out).IsTTY {
		nudge(ctx, env, api, c.ID)
		defer followSize(ctx, env, api, c.ID)()
	}
	if err := s.run(ctx); err != nil {
		if errors.Is(err, errDetached) {
			return errDetachedByKeys
		}
		return err
	}
	return (<-ended).result()
}

// errDetachedByKeys is what `attach`, unlike `run`, ends with.
var errDetachedByKeys = errors.New("read escape sequence")

func inspectRunning(ctx context.Context, api Inspector, id string) (container.InspectResponse, error) {
	c, err := api.ContainerInspect(ctx, id)
	switch {
	case err != nil:
		return c, err
	case !c.State.Running:
		return c, errors.New("You cannot attach to a stopped container, start it first") //nolint:staticcheck // docker's wording
	case c.State.Paused:
		return c, errors.New("You cannot attach to a paused container, unpause it first") //nolint:staticcheck // docker's wording
	case c.State.Restarting:
		return c, errors.New("You cannot attach to a restarting container, wait until it is running") //nolint:staticcheck // docker's wording
	}
	return c, nil
}

// nudge makes a shell draw its prompt again: it does when the size changes,
// and followSize sets the true one next.
func nudge(ctx context.Context, env *cmdenv.Env, api Resizer, id string) {
	width, height := cmdenv.TerminalOf(env.Out).Size()
	err := api.ContainerResize(ctx, id, container.ResizeOptions{Height: uint(height + 1), Width: uint(width + 1)})
	if err != nil {
		env.Log().DebugContext(ctx, "terminal not resized", "container_id", id, "err", err)
	}
}
