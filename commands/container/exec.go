package container

import (
	"context"
	"errors"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// execOptions are the flags and arguments of `exec`.
type execOptions struct {
	container   string
	args        []string
	detach      bool
	detachKeys  string
	env         opts.ListOpts
	envFile     opts.ListOpts
	interactive bool
	privileged  bool
	tty         bool
	user        string
	workdir     string
}

// execAPI is what `exec` asks of the daemon.
type execAPI interface {
	Inspector
	ContainerExecCreate(ctx context.Context, id string, options container.ExecOptions) (container.ExecCreateResponse, error)
	ContainerExecStart(ctx context.Context, execID string, options container.ExecStartOptions) error
	ContainerExecAttach(ctx context.Context, execID string, options container.ExecAttachOptions) (types.HijackedResponse, error)
	ContainerExecResize(ctx context.Context, execID string, options container.ResizeOptions) error
	ContainerExecInspect(ctx context.Context, execID string) (container.ExecInspect, error)
}

// NewExec gives the `exec` command.
func NewExec(env *cmdenv.Env) *cobra.Command { return newExecCommand(env, nil) }

func newExecCommand(env *cmdenv.Env, hook func(*execOptions) error) *cobra.Command {
	o := &execOptions{env: opts.NewListOpts(opts.ValidateEnv), envFile: opts.NewListOpts(nil)}
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] CONTAINER COMMAND [ARG...]",
		Short: "Execute a command in a running container",
		Args:  cmdenv.MinArgs(2),
		ValidArgsFunction: complete.Containers(env, false, func(c container.Summary) bool {
			return c.State != container.StatePaused
		}),
		Annotations: common("2", cmdenv.AlsoKnownAs("container exec", "exec")),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.container, o.args = args[0], args[1:]
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runExec(cmd.Context(), env, api, o)
		},
	}
	flags := cmd.Flags()
	flags.SetInterspersed(false)
	flags.StringVar(&o.detachKeys, "detach-keys", "", "Override the key sequence for detaching a container")
	flags.BoolVarP(&o.interactive, "interactive", "i", false, "Keep STDIN open even if not attached")
	flags.BoolVarP(&o.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	flags.BoolVarP(&o.detach, "detach", "d", false, "Detached mode: run command in the background")
	flags.StringVarP(&o.user, "user", "u", "", `Username or UID (format: "<name|uid>[:<group|gid>]")`)
	flags.BoolVar(&o.privileged, "privileged", false, "Give extended privileges to the command")
	flags.VarP(&o.env, "env", "e", "Set environment variables")
	flags.Var(&o.envFile, "env-file", "Read in a file of environment variables")
	flags.StringVarP(&o.workdir, "workdir", "w", "", "Working directory inside the container")
	return cmd
}

// request gives what the daemon is asked for.
func (o *execOptions) request(env *cmdenv.Env) (container.ExecOptions, error) {
	variables, err := opts.ReadKVEnvStrings(o.envFile.GetSlice(), o.env.GetSlice())
	if err != nil {
		return container.ExecOptions{}, err
	}
	req := container.ExecOptions{
		User: o.user, Privileged: o.privileged, Tty: o.tty, Cmd: o.args, Env: variables, WorkingDir: o.workdir,
		DetachKeys: o.detachKeys,
	}
	if req.DetachKeys == "" {
		req.DetachKeys = env.Config().DetachKeys
	}
	if !o.detach {
		req.AttachStdin, req.AttachStdout, req.AttachStderr = o.interactive, true, true
	}
	if !o.detach && o.tty {
		if width, height := cmdenv.TerminalOf(env.Out).Size(); width > 0 && height > 0 {
			req.ConsoleSize = &[2]uint{uint(height), uint(width)}
		}
	}
	return req, nil
}

func runExec(ctx context.Context, env *cmdenv.Env, api execAPI, o *execOptions) error {
	req, err := o.request(env)
	if err != nil {
		return err
	}
	// Asked first, for its words: an exec of nothing is not told apart.
	if _, err := api.ContainerInspect(ctx, o.container); err != nil {
		return err
	}
	if !o.detach {
		if err := checkTTY(env, req.AttachStdin, req.Tty); err != nil {
			return err
		}
	}
	made, err := api.ContainerExecCreate(ctx, o.container, req)
	if err != nil {
		return err
	}
	if made.ID == "" {
		return errors.New("exec ID empty")
	}
	if o.detach {
		return api.ContainerExecStart(ctx, made.ID, container.ExecStartOptions{Detach: true, Tty: req.Tty})
	}
	return followExec(ctx, env, api, made.ID, req)
}

// followExec carries the streams of a process until its end, and gives its
// exit code. Detached by its keys, it runs on.
func followExec(ctx context.Context, env *cmdenv.Env, api execAPI, id string, req container.ExecOptions) error {
	conn, err := api.ContainerExecAttach(ctx, id, container.ExecAttachOptions{Tty: req.Tty, ConsoleSize: req.ConsoleSize})
	if err != nil {
		return err
	}
	s := &session{
		conn: conn, tty: req.Tty, terminal: cmdenv.TerminalOf(env.In), keys: detachKeys(env, req.DetachKeys),
		out: env.Out, errOut: env.Err,
	}
	defer s.close()
	if req.AttachStdin {
		s.in = env.In
	}
	if req.Tty {
		s.errOut = env.Out
		if cmdenv.TerminalOf(env.Out).IsTTY {
			defer followSize(ctx, env, execResizer{api}, id)()
		}
	}
	if err := s.run(ctx); err != nil {
		if errors.Is(err, errDetached) {
			return nil
		}
		return err
	}
	ended, err := api.ContainerExecInspect(ctx, id)
	if err != nil {
		return err
	}
	if ended.ExitCode != 0 {
		return cmdenv.StatusError{Code: ended.ExitCode}
	}
	return nil
}

// execResizer sets the size of a process's terminal as if it were a
// container's.
type execResizer struct{ api execAPI }

func (r execResizer) ContainerResize(ctx context.Context, id string, options container.ResizeOptions) error {
	return r.api.ContainerExecResize(ctx, id, options)
}
