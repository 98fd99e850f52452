package labcmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/lab"
)

// Exit codes of a program that could not be started, as a shell's.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

func newExec(env *cmdenv.Env, self string) *cobra.Command {
	p := place{self: self}
	cmd := &cobra.Command{
		Use:   "exec [OPTIONS] HOST -- COMMAND [ARG...]",
		Short: "Run a command on a host",
		Long: "Run a command on a host: in all its namespaces, with DOCKER_HOST naming its engine. The exit code is\n" +
			"the command's. The host shares this machine's files, except for /proc, /sys and /run.",
		Args:              cmdenv.MinArgs(2),
		ValidArgsFunction: p.hostNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			host, args := args[0], args[1:]
			if args[0] == "--" {
				args = args[1:]
			}
			if len(args) == 0 {
				return cmdenv.MinArgs(2)(cmd, []string{host})
			}
			return p.run(cmd.Context(), env, host, lab.Process{Args: args})
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the host is the command's
	p.bind(cmd, env)
	return cmd
}

func newShell(env *cmdenv.Env, self string) *cobra.Command {
	p := place{self: self}
	cmd := &cobra.Command{
		Use:               "shell [OPTIONS] HOST",
		Short:             "Open a shell on a host",
		Args:              cmdenv.ExactArgs(1),
		ValidArgsFunction: p.hostNames(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			// bash reads its start-up files after PS1 came from the environment,
			// so the prompt is set when the first one is about to be shown.
			prompt := p.name + "/" + args[0] + ":"
			return p.run(cmd.Context(), env, args[0], lab.Process{
				Args: []string{"/bin/sh", "-c", "if command -v bash >/dev/null; then exec bash; else exec sh; fi"},
				Env: append(lab.HostEnv(os.Environ()),
					"PS1="+prompt+"$ ", `PROMPT_COMMAND=PS1='`+prompt+`\w\$ '; unset PROMPT_COMMAND`),
			})
		},
	}
	p.bind(cmd, env)
	return cmd
}

// run runs a program on a host with this process's streams and gives its exit
// code as error.
func (p *place) run(ctx context.Context, env *cmdenv.Env, host string, program lab.Process) error {
	l, err := p.open()
	if err != nil {
		return err
	}
	if program.Dir, err = os.Getwd(); err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	program.In, program.Out, program.Err = env.In, env.Out, env.Err
	passed, survived := make(chan os.Signal, 16), make(chan os.Signal, 1)
	signal.Notify(passed, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(passed)
	typed := passed
	if cmdenv.TerminalOf(env.In).IsTTY {
		typed = survived // the terminal gives its signals to the program as well as to us
	}
	signal.Notify(typed, syscall.SIGINT, syscall.SIGQUIT)
	defer signal.Stop(typed)
	program.Signals = passed
	// What would end ctx goes to the program, which decides.
	return exitCode(l.Exec(context.WithoutCancel(ctx), host, program), program.Args[0])
}

func exitCode(err error, program string) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		st, ok := exit.Sys().(syscall.WaitStatus)
		if ok && st.Signaled() {
			return cmdenv.StatusError{Code: 128 + int(st.Signal())}
		}
		return cmdenv.StatusError{Code: exit.ExitCode()}
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return cmdenv.StatusError{Code: codeNotFound, Status: program + ": not found", Cause: err}
	case errors.Is(err, fs.ErrPermission):
		return cmdenv.StatusError{Code: codeNotExecutable, Status: program + ": can't be executed", Cause: err}
	default:
		return err
	}
}
