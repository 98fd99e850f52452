package container

import (
	"context"
	"errors"

	"github.com/docker/docker/api/types/container"

	"weft/commands/cmdenv"
)

// foreground starts a container and stays with it while it is attached.
type foreground struct {
	env        *cmdenv.Env
	api        foregroundAPI
	id         string
	tty        bool
	autoRemove bool                     // the container is gone when it has ended
	attach     *container.AttachOptions // nil: only start it
}

// startFailure tells an error of the start from those that come later.
type startFailure struct{ error }

func (f startFailure) Unwrap() error { return f.error }

// explain gives the error of `run`: that of a start has a code of its own.
func (f *foreground) explain(err error) error {
	var start startFailure
	if errors.As(err, &start) {
		return startError(start.error)
	}
	return err
}

// run attaches, starts and waits, in this order, so that no output and no exit
// is missed. The error of a container that ended with a code is a StatusError
// with that code.
func (f *foreground) run(ctx context.Context, starter Starter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var streams chan error
	if f.attach != nil {
		s, err := attach(ctx, f.env, f.api, f.id, f.tty, *f.attach)
		if err != nil {
			return err
		}
		defer s.close()
		streams = make(chan error, 1)
		go func() { streams <- s.run(ctx) }()
	}
	ended := waitExit(ctx, f.api, f.id, f.autoRemove)
	if err := starter.ContainerStart(ctx, f.id, container.StartOptions{}); err != nil {
		if f.autoRemove {
			<-ended // the name is free again when the command returns
		}
		cancel()
		if streams != nil {
			<-streams //nolint:errcheck // the terminal is as it was; what failed has been told
		}
		return startFailure{err}
	}
	if f.attach == nil {
		return nil
	}
	if f.tty && cmdenv.TerminalOf(f.env.Out).IsTTY {
		defer followSize(ctx, f.env, f.api, f.id)()
	}
	return f.follow(streams, ended, cancel)
}

// follow waits for the streams and for the container, in either order.
func (f *foreground) follow(streams <-chan error, ended <-chan exit, cancel func()) error {
	select {
	case err := <-streams:
		if errors.Is(err, errDetached) {
			return nil
		}
		if err != nil {
			return err
		}
		return (<-ended).result()
	case e := <-ended:
		if !f.attach.Stdout && !f.attach.Stderr {
			cancel() // nothing is left to come
		}
		<-streams //nolint:errcheck // what the container wrote last; how it ended is known
		return e.result()
	}
}
