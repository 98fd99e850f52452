package commands

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

// Constructor makes the command tree of one noun.
type Constructor func(env *cmdenv.Env) *cobra.Command

// WithSelf makes a Constructor of one that also wants the path of this binary,
// because its commands start it again under another name.
func WithSelf(self string, construct func(env *cmdenv.Env, self string) *cobra.Command) Constructor {
	return func(env *cmdenv.Env) *cobra.Command { return construct(env, self) }
}

// Main runs the command line of this process, given without the program's
// name, and gives the code to exit with. extra commands are added to those of
// this package.
func Main(args []string, extra ...Constructor) int {
	env := cmdenv.System()
	ctx, stop := untilSignal(context.Background())
	defer stop()
	return Run(ctx, env, args, extra...)
}

// Run runs one command line in env and gives its exit code. It closes env's
// connection to the engine. If ctx ends with a Signal as its cause the code is
// that signal's.
func Run(ctx context.Context, env *cmdenv.Env, args []string, extra ...Constructor) int {
	err := execute(ctx, env, newRoot(env, extra), args)
	if closeErr := env.Close(); err == nil {
		err = closeErr
	}
	code, text := outcome(ctx, err)
	if text != "" {
		fmt.Fprintln(env.Err, text)
	}
	if hint := cmdenv.Hint(err); hint != "" && text != "" {
		fmt.Fprintf(env.Err, "\n%s\n", hint)
	}
	return code
}

// execute parses the flags before the command by itself: cobra gives errors in
// them without usage, and Docker's client does not.
func execute(ctx context.Context, env *cmdenv.Env, root *cobra.Command, args []string) error {
	global := pflag.NewFlagSet(root.Name(), pflag.ContinueOnError)
	global.SetInterspersed(false)
	global.AddFlagSet(root.Flags())
	global.AddFlagSet(root.PersistentFlags())
	if err := global.Parse(args); err != nil {
		return usageError(root, err)
	}
	if err := env.Check(); err != nil {
		return err
	}
	root.SetArgs(global.Args())
	return root.ExecuteContext(ctx)
}

// Signal is the cause of a context that a signal ended.
type Signal struct{ Number syscall.Signal }

func (s Signal) Error() string { return s.Number.String() }

// outcome gives the exit code of an error and the text to print for it.
func outcome(ctx context.Context, err error) (code int, text string) {
	var (
		sig    Signal
		status cmdenv.StatusError
	)
	switch {
	case err == nil:
		return 0, ""
	case errors.As(err, &sig), errdefs.IsCanceled(err) && errors.As(context.Cause(ctx), &sig):
		return 128 + int(sig.Number), ""
	case errdefs.IsCanceled(err):
		return 0, ""
	case errors.As(err, &status) && status.Code != 0:
		return status.Code, err.Error()
	case errors.Is(err, render.ErrTemplate):
		return cmdenv.CodeTemplate, err.Error()
	default:
		return 1, err.Error()
	}
}

// untilSignal gives a context that the first SIGINT or SIGTERM ends. The next
// one meets the default action, so a command that does not stop can be killed.
func untilSignal(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case s := <-signals:
			signal.Stop(signals)
			if number, ok := s.(syscall.Signal); ok {
				cancel(Signal{number})
			}
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
		<-done
	}
}
