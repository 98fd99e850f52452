package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/model"
)

// attached is an Attach in the background.
type attached struct {
	out, err buffer
	done     chan error
}

// buffer is what a client has got so far.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// attach attaches and returns once nothing can be lost any more.
func (b *bed) attach(ctx context.Context, id string, opts AttachOptions) *attached {
	b.t.Helper()
	a := &attached{done: make(chan error, 1)}
	ready := make(chan struct{})
	opts.Stdout, opts.Stderr = &a.out, &a.err
	opts.Attached = func() error { close(ready); return nil }
	go func() { a.done <- b.Attach(ctx, id, opts) }()
	select {
	case <-ready:
	case err := <-a.done:
		b.t.Fatalf("not attached: %v", err)
	}
	return a
}

func TestAttachBeforeStartLosesNothing(t *testing.T) { onBoth(t, testAttachBeforeStartLosesNothing) }

func testAttachBeforeStartLosesNothing(t *testing.T, b *bed) {
	const n = 60000 // 7 MB, far more than the pipes hold
	id := b.create(model.ProcessSpec{Args: []string{"lines", fmt.Sprint(n)}})
	for range 2 { // once for each of two runs
		a := b.attach(deadline(t), id, AttachOptions{})
		other := b.attach(deadline(t), id, AttachOptions{})
		b.start(id)
		if st := b.wait(id); st.Code != 0 {
			t.Errorf("exit %+v", st)
		}
		for _, a := range []*attached{a, other} {
			if err := <-a.done; err != nil {
				t.Error(err)
			}
			lines := strings.Split(a.out.String(), "\n")
			if len(lines) != n+1 {
				t.Fatalf("%d lines, want %d", len(lines), n+1)
			}
			for i, line := range lines[:n] {
				if !strings.HasPrefix(line, fmt.Sprintf("line %07d ", i)) {
					t.Fatalf("line %d is %q", i, line)
				}
			}
		}
	}
}

func TestAttachSeparatesStreams(t *testing.T) { onBoth(t, testAttachSeparatesStreams) }

func testAttachSeparatesStreams(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"both"}})
	a := b.attach(deadline(t), id, AttachOptions{})
	b.start(id)
	if err := <-a.done; err != nil {
		t.Error(err)
	}
	if a.out.String() != "out 0\nout 1\nout 2\n" || a.err.String() != "err 0\nerr 1\nerr 2\n" {
		t.Errorf("got %q and %q", a.out.String(), a.err.String())
	}
}

func TestStdin(t *testing.T) { onBoth(t, testStdin) }

func testStdin(t *testing.T, b *bed) {
	big := strings.Repeat("0123456789abcde\n", 64<<10) // 1 MB
	id := b.create(model.ProcessSpec{Args: []string{"cat"}, OpenStdin: true})
	a := b.attach(deadline(t), id, AttachOptions{Stdin: strings.NewReader(big)})
	b.start(id)
	if err := <-a.done; err != nil {
		t.Error(err)
	}
	if a.out.String() != big {
		t.Errorf("%d bytes came back of %d", len(a.out.String()), len(big))
	}
	if st := b.wait(id); st.Code != 0 {
		t.Errorf("exit %+v", st)
	}

	// Without an open standard input there is none, whatever a client sends.
	id = b.create(model.ProcessSpec{Args: []string{"cat"}})
	a = b.attach(deadline(t), id, AttachOptions{Stdin: strings.NewReader(big)})
	b.start(id)
	if err := <-a.done; err != nil || a.out.String() != "" {
		t.Errorf("%v %q", err, a.out.String())
	}
}

func TestStdinKeptOpen(t *testing.T) { onBoth(t, testStdinKeptOpen) }

func testStdinKeptOpen(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"cat"}, OpenStdin: true})
	b.start(id)
	// Clients that send input only come and go.
	for _, text := range []string{"one\n", "two\n"} {
		err := b.Attach(deadline(t), id, AttachOptions{Stdin: strings.NewReader(text), KeepStdin: true})
		if err != nil {
			t.Error(err)
		}
	}
	if err := b.Attach(deadline(t), id, AttachOptions{Stdin: strings.NewReader("three\n")}); err != nil {
		t.Error(err)
	}
	if st := b.wait(id); st.Code != 0 {
		t.Errorf("exit %+v", st)
	}
	if out, _ := b.logs(id, LogOptions{Tail: -1}); out != "one\ntwo\nthree\n" {
		t.Errorf("got %q", out)
	}
}

func TestClientsComeAndGo(t *testing.T) { onBoth(t, testClientsComeAndGo) }

func testClientsComeAndGo(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"ticks"}})
	b.start(id)
	stays := b.attach(deadline(t), id, AttachOptions{})
	shim := b.procs(id).Shim.Pid
	fds := func() int {
		all, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", shim))
		if err != nil {
			t.Error(err)
		}
		return len(all)
	}
	eventually(t, "the first client's output", func() bool { return stays.out.String() != "" })
	before := fds()
	for range 20 {
		ctx, leave := context.WithCancel(t.Context())
		a := b.attach(ctx, id, AttachOptions{})
		eventually(t, "output", func() bool { return a.out.String() != "" })
		leave()
		if err := <-a.done; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	// One whose writer fails is one that has gone.
	if err := b.Attach(deadline(t), id, AttachOptions{Stdout: failing{}}); !errors.Is(err, errFull) {
		t.Errorf("got %v", err)
	}
	eventually(t, "the shim to forget them", func() bool { return fds() <= before })
	if err := b.Signal(t.Context(), id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-stays.done; err != nil {
		t.Error(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(stays.out.String()), "\n")[1:] {
		if !strings.HasPrefix(line, "tick ") {
			t.Fatalf("line %d is %q", i, line)
		}
	}
}

var errFull = errors.New("full")

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errFull }

// TestStuckClient has a client that reads nothing: it must not keep the end of
// the container from being known, nor the container from being removed.
func TestStuckClient(t *testing.T) { onBoth(t, testStuckClient) }

func testStuckClient(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"lines", "100000"}})
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- b.Attach(deadline(t), id, AttachOptions{Stdout: w}) }()
	eventually(t, "the client to be on the list", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.pending[id]) == 1
	})
	b.start(id)
	if err := b.Signal(t.Context(), id, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st := b.wait(id); st.Code != 137 {
		t.Errorf("exit %+v", st)
	}
	if err := b.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	_ = r.Close()
	if err := <-done; err != nil && !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("attach ended with %v", err)
	}
}

func TestAttachToWhatNeverStarts(t *testing.T) { onBoth(t, testAttachToWhatNeverStarts) }

func testAttachToWhatNeverStarts(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Entrypoint: []string{"nosuch"}})
	a := b.attach(deadline(t), id, AttachOptions{})
	if _, err := b.Start(t.Context(), id); !isExec(err, 127) {
		t.Errorf("start: %v", err)
	}
	if err := <-a.done; err != nil || a.out.String() != "" {
		t.Errorf("%v %q", err, a.out.String())
	}

	a = b.attach(deadline(t), id, AttachOptions{})
	if err := b.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
	if err := <-a.done; err != nil {
		t.Error(err)
	}

	id = b.create(model.ProcessSpec{Args: []string{"serve"}})
	ctx, leave := context.WithTimeout(t.Context(), time.Millisecond)
	defer leave()
	if err := b.Attach(ctx, id, AttachOptions{Stdout: io.Discard}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := b.Attach(t.Context(), "nosuch", AttachOptions{}); !errdefs.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
	if err := b.Attach(t.Context(), "nosuch", AttachOptions{Logs: true}); !errdefs.IsNotFound(err) {
		t.Errorf("got %v", err)
	}
}

func TestAttachWithLogs(t *testing.T) { onBoth(t, testAttachWithLogs) }

func testAttachWithLogs(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"cat"}, OpenStdin: true})
	first := b.attach(deadline(t), id, AttachOptions{Logs: true})
	b.start(id)
	if err := b.Attach(deadline(t), id, AttachOptions{Stdin: strings.NewReader("past\n"), KeepStdin: true}); err != nil {
		t.Fatal(err)
	}
	b.ready(id)
	second := b.attach(deadline(t), id, AttachOptions{Logs: true, Stdin: strings.NewReader("present\n")})
	for _, a := range []*attached{first, second} {
		if err := <-a.done; err != nil || a.out.String() != "past\npresent\n" {
			t.Errorf("%v %q", err, a.out.String())
		}
	}
}
