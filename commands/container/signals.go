package container

import (
	"context"
	"log/slog"
	"os"
	ossignal "os/signal"
	"strings"
	"syscall"

	"github.com/moby/sys/signal"
)

// Killer sends signals to containers.
type Killer interface {
	ContainerKill(ctx context.Context, id, signal string) error
}

// proxySignals passes the signals this process gets on to the container until
// stop is called.
func proxySignals(ctx context.Context, log *slog.Logger, api Killer, id string) (stop func()) {
	signals := make(chan os.Signal, 128)
	ossignal.Notify(signals)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s := range signals {
			name := forwardedName(s)
			if name == "" {
				continue
			}
			if err := api.ContainerKill(ctx, id, name); err != nil {
				log.DebugContext(ctx, "signal not passed on", "container_id", id, "signal", name, "err", err)
			}
		}
	}()
	return func() {
		ossignal.Stop(signals)
		close(signals)
		<-done
	}
}

// forwardedName is the name the daemon knows a signal by, empty for those that
// are about this process only: its children, its pipes
// and the preemption signal of the Go runtime.
func forwardedName(s os.Signal) string {
	number, ok := s.(syscall.Signal)
	if !ok {
		return ""
	}
	if number == syscall.SIGCHLD || number == syscall.SIGPIPE || number == syscall.SIGURG {
		return ""
	}
	best := ""
	for name, n := range signal.SignalMap {
		if n == number && (best == "" || strings.Compare(name, best) < 0) { // some have two names
			best = name
		}
	}
	return best
}
