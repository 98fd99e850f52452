package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
	"go.uber.org/goleak"
)

// statsEngine streams what is written to its containers' pipes.
type statsEngine struct {
	messages chan events.Message
	errs     chan error

	asked chan struct{} // has room for one: there is a new pipe

	mu    sync.Mutex // guards what follows
	pipes map[string]*io.PipeWriter
}

func (e *statsEngine) ContainerList(context.Context, container.ListOptions) ([]container.Summary, error) {
	return []container.Summary{{ID: "first"}}, nil
}

func (e *statsEngine) Events(context.Context, events.ListOptions) (<-chan events.Message, <-chan error) {
	return e.messages, e.errs
}

func (e *statsEngine) ContainerStats(ctx context.Context, id string, _ bool) (container.StatsResponseReader, error) {
	r, w := io.Pipe()
	context.AfterFunc(ctx, func() { _ = w.CloseWithError(ctx.Err()) })
	e.mu.Lock()
	e.pipes[id] = w
	e.mu.Unlock()
	wake(e.asked)
	return container.StatsResponseReader{Body: r}, nil
}

// tell sends a sample, once the container is listened to.
func (e *statsEngine) tell(t *testing.T, id string, processes uint64) {
	t.Helper()
	var w io.Writer
	until(t, e.asked, func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		pipe, ok := e.pipes[id]
		w = pipe
		return ok
	})
	v := container.StatsResponse{ID: id, Name: "/" + id, PidsStats: container.PidsStats{Current: processes}}
	if err := json.NewEncoder(w).Encode(v); err != nil {
		t.Error(err)
	}
}

// wake tells who waits by until.
func wake(changed chan struct{}) {
	select {
	case changed <- struct{}{}:
	default:
	}
}

// until waits for what happens with one of the changes.
func until(t *testing.T, changed <-chan struct{}, happened func() bool) {
	t.Helper()
	limit := time.NewTimer(20 * time.Second)
	defer limit.Stop()
	for !happened() {
		select {
		case <-changed:
		case <-limit.C:
			t.Fatal("it did not happen")
		}
	}
}

// screen keeps what is drawn.
type screen struct {
	drawn chan struct{} // has room for one

	mu   sync.Mutex // guards text
	text bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer wake(s.drawn)
	return s.text.Write(p)
}

// last gives the last whole frame.
func (s *screen) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	frames := strings.Split(s.text.String(), "\x1b[J")
	if len(frames) < 2 {
		return ""
	}
	return strings.TrimPrefix(frames[len(frames)-2], "\x1b[H")
}

// TestStatsFollows lets containers start, change and end while the table is
// drawn.
func TestStatsFollows(t *testing.T) {
	defer goleak.VerifyNone(t)
	for _, tt := range []struct {
		name string
		end  func(cancel context.CancelCauseFunc, e *statsEngine)
		want error
	}{
		{"until interrupted", func(cancel context.CancelCauseFunc, _ *statsEngine) { cancel(errDetached) }, errDetached},
		{"until the daemon restarts", func(_ context.CancelCauseFunc, e *statsEngine) { e.errs <- io.ErrUnexpectedEOF }, nil},
		{"until the daemon fails", func(_ context.CancelCauseFunc, e *statsEngine) { e.errs <- io.ErrClosedPipe }, io.ErrClosedPipe},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := &statsEngine{messages: make(chan events.Message), errs: make(chan error), asked: make(chan struct{}, 1), pipes: map[string]*io.PipeWriter{}}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			out := screen{drawn: make(chan struct{}, 1)}
			done := make(chan error, 1)
			go func() { done <- runStats(ctx, &out, e, &statsOptions{format: "{{.Name}}={{.PIDs}}"}) }()
			shown := func(want string) {
				t.Helper()
				until(t, out.drawn, func() bool { return out.last() == want })
			}
			e.tell(t, "first", 1)
			shown("first=1\x1b[K\n")
			e.tell(t, "first", 2)
			shown("first=2\x1b[K\n")
			e.messages <- events.Message{Action: events.ActionStart, Actor: events.Actor{ID: "second"}}
			e.messages <- events.Message{Action: events.ActionCreate, Actor: events.Actor{ID: "ignored"}}
			e.tell(t, "second", 5)
			shown("first=2\x1b[K\nsecond=5\x1b[K\n")
			e.messages <- events.Message{Action: events.ActionDie, Actor: events.Actor{ID: "first"}}
			shown("second=5\x1b[K\n")
			shown("second=--\x1b[K\n") // nothing is heard for too long
			e.tell(t, "second", 6)
			shown("second=6\x1b[K\n")
			tt.end(cancel, e)
			if err := <-done; !errors.Is(err, tt.want) {
				t.Errorf("it ended with %v, want %v", err, tt.want)
			}
		})
	}
}
