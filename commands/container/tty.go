package container

import (
	"context"
	"os"
	ossignal "os/signal"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/container"

	"weft/commands/cmdenv"
)

// Resizer sets the size of containers' terminals.
type Resizer interface {
	ContainerResize(ctx context.Context, id string, options container.ResizeOptions) error
}

const (
	// A container that was just started may not take a size yet.
	resizeTries = 10
	resizePause = 10 * time.Millisecond
)

// followSize gives the container's terminal the size of ours, now and whenever
// it changes, until stop is called.
func followSize(ctx context.Context, env *cmdenv.Env, api Resizer, id string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	changes := make(chan os.Signal, 1)
	ossignal.Notify(changes, syscall.SIGWINCH)
	done := make(chan struct{})
	go func() {
		defer close(done)
		resizePatiently(ctx, env, api, id)
		for {
			select {
			case <-changes:
				if err := resize(ctx, env, api, id); err != nil {
					env.Log().DebugContext(ctx, "terminal not resized", "container_id", id, "err", err)
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		ossignal.Stop(changes)
		cancel()
		<-done
	}
}

func resizePatiently(ctx context.Context, env *cmdenv.Env, api Resizer, id string) {
	for try := range resizeTries {
		if resize(ctx, env, api, id) == nil || ctx.Err() != nil {
			return
		}
		timer := time.NewTimer(time.Duration(try+1) * resizePause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
	env.Log().DebugContext(ctx, "terminal keeps its default size", "container_id", id)
}

func resize(ctx context.Context, env *cmdenv.Env, api Resizer, id string) error {
	width, height := cmdenv.TerminalOf(env.Out).Size()
	if width <= 0 || height <= 0 {
		return nil
	}
	return api.ContainerResize(ctx, id, container.ResizeOptions{Height: uint(height), Width: uint(width)})
}
