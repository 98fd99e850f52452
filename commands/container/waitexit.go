package container

import (
	"context"

	"github.com/docker/docker/api/types/container"

	"weft/commands/cmdenv"
)

// Waiter waits for containers to end.
type Waiter interface {
	ContainerWait(ctx context.Context, id string, condition container.WaitCondition) (<-chan container.WaitResponse, <-chan error)
}

// exit is how a container ended.
type exit struct {
	code int
	err  error // why the code is not known
}

// result is nil for success; else it carries the container's code, or says
// why it is not known.
func (e exit) result() error {
	switch {
	case e.err != nil:
		return cmdenv.StatusError{Code: cmdenv.CodeUsage, Status: "error waiting for container: " + e.err.Error(), Cause: e.err}
	case e.code != 0:
		return cmdenv.StatusError{Code: e.code}
	}
	return nil
}

// waitExit starts waiting for the container's next end, or for its removal.
// When it returns the daemon watches, so nothing that happens later is missed.
// The channel gives one exit, or none if ctx ends first.
func waitExit(ctx context.Context, api Waiter, id string, removed bool) <-chan exit {
	condition := container.WaitConditionNextExit
	if removed {
		condition = container.WaitConditionRemoved
	}
	results, errs := api.ContainerWait(ctx, id, condition)
	ended := make(chan exit, 1)
	go func() {
		select {
		case <-ctx.Done():
		case r := <-results:
			ended <- exitOf(r)
		case err := <-errs:
			ended <- exit{err: err}
		}
	}()
	return ended
}

func exitOf(r container.WaitResponse) exit {
	if r.Error != nil {
		return exit{err: waitError(r.Error.Message)}
	}
	return exit{code: int(r.StatusCode)}
}

// waitError is the daemon's reason for not knowing how a container ended.
type waitError string

func (e waitError) Error() string { return string(e) }
