package enginecmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"weft/commands/cmdenv"
	"weft/engine"
	"weft/engine/rootless"
)

// volatile are the names in an engine's run directory that are without meaning
// once its namespaces are gone, as after a reboot.
func volatile() []string { return []string{"netns", "shim", "swarm", "view", engine.SocketName} }

// runRootless runs the engine in the user's own user namespace and stays with
// it. An engine that ends for good takes the namespace along; one that is
// killed leaves it, with its containers, to the next.
func runRootless(ctx context.Context, env *cmdenv.Env, o *runOptions, self string) (err error) {
	if _, err := o.config(); err != nil {
		return err
	}
	for _, dir := range []*string{&o.runDir, &o.dataDir} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return fmt.Errorf("find the directories: %w", err)
		}
	}
	out, okOut := env.Out.(*os.File)
	errOut, okErr := env.Err.(*os.File)
	if !okOut || !okErr {
		return errors.New("an engine needs files to write to")
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fmt.Errorf("open the engine's input: %w", err)
	}
	defer null.Close() //nolint:errcheck // only read
	world, err := rootless.Enter(ctx, rootless.Config{Dir: o.runDir, Self: self, Egress: true, Clear: volatile()})
	if err != nil {
		return err
	}
	args := o.args()
	if env.Debug() {
		args = append([]string{"--debug"}, args...)
	}
	stop := make(chan os.Signal, 1)
	defer context.AfterFunc(ctx, func() { stop <- unix.SIGTERM })()
	status, err := world.Run(rootless.Process{
		Args: args, Env: os.Environ(), Dir: "/", In: null, Out: out, Err: errOut,
		Orphan: unix.SIGKILL, Signals: stop,
	})
	done := err == nil && (ctx.Err() != nil || status.ExitStatus() == 0)
	err = errors.Join(err, world.End(context.WithoutCancel(ctx), done))
	if err == nil {
		err = engineEnd(status)
	}
	return err
}

// engineEnd gives the error of an engine that ended, which has told why itself
// unless it was killed.
func engineEnd(status syscall.WaitStatus) error {
	switch {
	case status.Signaled():
		return cmdenv.StatusError{
			Code:   128 + int(status.Signal()),
			Status: fmt.Sprintf("the engine was killed (%s); its containers go on, and the next `weft engine start` finds them", status.Signal()),
		}
	case status.ExitStatus() != 0:
		return cmdenv.StatusError{Code: status.ExitStatus()}
	}
	return nil
}

// tellLimits says what an engine without root can't do on this machine.
func tellLimits(env *cmdenv.Env) error {
	if !rootless.Needed() {
		return nil
	}
	for _, text := range []string{rootless.Limits(), rootless.NoWayOut()} {
		if text == "" {
			continue
		}
		if _, err := fmt.Fprintln(env.Err, "Without root,", text+"."); err != nil {
			return err
		}
	}
	return nil
}
