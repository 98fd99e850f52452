package labcmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/engine/rootless"
)

// asRoot makes a command of an ordinary user run again where that user is
// root: in the user namespace all the user's labs are in. It goes away with
// the last of what runs in it.
func asRoot(env *cmdenv.Env, self string, cmd *cobra.Command) *cobra.Command {
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !rootless.Needed() {
			return run(cmd, args)
		}
		return again(cmd, env, self, args)
	}
	return cmd
}

func again(cmd *cobra.Command, env *cmdenv.Env, self string, args []string) (err error) {
	files, err := streams(env)
	if err != nil {
		return err
	}
	dir, err := os.Getwd()
	if err != nil {
		return fmt.Errorf("find the working directory: %w", err)
	}
	ctx := context.WithoutCancel(cmd.Context()) // what would end it goes to the command, which decides
	world, err := rootless.Enter(ctx, rootless.Config{Dir: filepath.Join(env.Dirs.Run, "lab"), Self: self})
	if err != nil {
		return err
	}
	if text := rootless.Limits(); text != "" && cmd.Name() == "up" {
		fmt.Fprintf(env.Err, "Without root, %s.\n", text)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	p := rootless.Process{
		Args: commandLine(cmd, env, args), Env: os.Environ(), Dir: dir,
		In: files[0], Out: files[1], Err: files[2], Orphan: syscall.SIGHUP, Signals: signals,
	}
	var status syscall.WaitStatus
	if takesTerminal(cmd) && cmdenv.TerminalOf(env.In).IsTTY {
		status, err = runOnTerminal(world, p)
	} else {
		status, err = world.Run(p)
	}
	if err = errors.Join(err, world.End(ctx, false)); err != nil {
		return err
	}
	return exitStatus(status)
}

func exitStatus(status syscall.WaitStatus) error {
	switch {
	case status.Signaled():
		return cmdenv.StatusError{Code: 128 + int(status.Signal())}
	case status.ExitStatus() != 0:
		return cmdenv.StatusError{Code: status.ExitStatus()}
	}
	return nil
}

// streams gives the files behind the standard streams.
func streams(env *cmdenv.Env) ([3]*os.File, error) {
	var files [3]*os.File
	for i, stream := range []any{env.In, env.Out, env.Err} {
		f, ok := stream.(*os.File)
		if !ok {
			return files, errors.New("without root, a lab's commands take files as their streams")
		}
		files[i] = f
	}
	return files, nil
}

// commandLine gives a command line that means what this one did.
func commandLine(cmd *cobra.Command, env *cmdenv.Env, args []string) []string {
	var line []string
	if env.Debug() {
		line = append(line, "--debug")
	}
	line = append(line, "lab", cmd.Name())
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok {
			for _, v := range list.GetSlice() {
				line = append(line, "--"+f.Name+"="+v)
			}
			return
		}
		line = append(line, "--"+f.Name+"="+f.Value.String())
	})
	return append(append(line, "--"), args...)
}
