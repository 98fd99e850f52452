package container

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// runOptions are the flags and arguments of `run`.
type runOptions struct {
	createOptions

	detach     bool
	sigProxy   bool
	detachKeys string
}

// Starter starts containers.
type Starter interface {
	ContainerStart(ctx context.Context, id string, options container.StartOptions) error
}

// foregroundAPI is what following a container in the foreground asks of the
// daemon.
type foregroundAPI interface {
	Attacher
	Killer
	Resizer
	Waiter
}

// runAPI is what `run` asks of the daemon.
type runAPI interface {
	Creator
	Starter
	foregroundAPI
}

// NewRun gives the `run` command.
func NewRun(env *cmdenv.Env) *cobra.Command { return newRunCommand(env, nil) }

func newRunCommand(env *cmdenv.Env, hook func(*runOptions) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "run [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create and run a new container from an image",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Images(env),
		Annotations:       common("1", cmdenv.AlsoKnownAs("container run", "run")),
	}
	o := &runOptions{createOptions: createOptions{flags: newConfigFlags(cmd.Flags())}}
	o.bind(cmd.Flags(), env, "running")
	cmd.Flags().BoolVarP(&o.detach, "detach", "d", false, "Run container in background and print container ID")
	cmd.Flags().BoolVar(&o.sigProxy, "sig-proxy", true, "Proxy received signals to the process")
	cmd.Flags().StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	completeConfig(cmd, env)
	complete.Flag(cmd, "detach-keys", complete.Words("ctrl-p,ctrl-q"))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.image, o.args = args[0], args[1:]
		if hook != nil {
			return hook(o)
		}
		api, err := env.Client(cmd.Context())
		if err != nil {
			return err
		}
		return run(cmd.Context(), env, api, o)
	}
	return cmd
}

func run(ctx context.Context, env *cmdenv.Env, api runAPI, o *runOptions) error {
	c, err := o.creation(env, api, "run")
	if err != nil {
		return err
	}
	if err := o.checkStreams(env, c.config); err != nil {
		return err
	}
	id, err := create(ctx, env, api, &o.createOptions, c)
	if err != nil {
		return startError(err)
	}
	// From here a signal is the container's affair: it must not cut the streams
	// off before the container has ended.
	ctx = context.WithoutCancel(ctx)
	if o.sigProxy && !o.detach {
		defer proxySignals(ctx, env.Log(), api, id)()
	}
	f := foreground{env: env, api: api, id: id, tty: c.config.Tty, autoRemove: o.flags.autoRemove}
	if attached(c.config) {
		f.attach = &container.AttachOptions{
			Stream:     true,
			Stdin:      c.config.AttachStdin,
			Stdout:     c.config.AttachStdout,
			Stderr:     c.config.AttachStderr,
			DetachKeys: o.detachKeys,
		}
	} else {
		fmt.Fprintln(env.Out, id)
	}
	if err := f.run(ctx, api); err != nil {
		return f.explain(err)
	}
	return nil
}

func attached(c *container.Config) bool { return c.AttachStdin || c.AttachStdout || c.AttachStderr }

// checkStreams refuses streams that cannot be had; a detached container has
// none.
func (o *runOptions) checkStreams(env *cmdenv.Env, c *container.Config) error {
	if !o.detach {
		return checkTTY(env, c.AttachStdin, c.Tty)
	}
	if o.flags.attach.Len() > 0 {
		return errors.New("conflicting options: cannot specify both --attach and --detach")
	}
	c.AttachStdin, c.AttachStdout, c.AttachStderr, c.StdinOnce = false, false, false, false
	return nil
}

func checkTTY(env *cmdenv.Env, stdin, tty bool) error {
	if stdin && tty && !cmdenv.TerminalOf(env.In).IsTTY {
		return errors.New("the input device is not a TTY")
	}
	return nil
}
