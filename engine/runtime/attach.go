package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
)

// AttachOptions says which streams are wanted; nil ones are not.
type AttachOptions struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// KeepStdin leaves the process's standard input open when Stdin ends.
	KeepStdin bool
	// Logs sends what is in the log before what is to come. Lines then arrive
	// when they are complete.
	Logs bool
	// Attached, if not nil, is called once no output can be lost any more.
	Attached func() error
}

// attachment is a client that came before the start of its container.
type attachment struct {
	opts  AttachOptions
	ready chan *attachedConn // receives once: nil when there will be no start
	gone  bool               // guarded by Runtime.mu: nobody receives any more
}

type attachedConn struct {
	conn *net.UnixConn
	in   *bufio.Reader
}

// Attach connects streams to a container, until its output ends, or, where
// only Stdin is wanted, until that or the process does. A container that is
// not running is waited for, and gives all of its output. The reading of Stdin
// may outlast the call by one Read: close it then.
func (r *Runtime) Attach(ctx context.Context, id string, opts AttachOptions) error {
	if opts.Logs {
		return r.attachLogs(ctx, id, opts)
	}
	c, err := r.connect(ctx, id, opts)
	if err != nil || c == nil {
		return err
	}
	return c.stream(ctx, opts)
}

// connect attaches to the shim, now or when the container is started. The
// result is nil when the container is removed instead.
func (r *Runtime) connect(ctx context.Context, id string, opts AttachOptions) (*attachedConn, error) {
	unlock := r.lock(id)
	st, err := r.stateLocked(ctx, id)
	if err != nil {
		unlock()
		return nil, err
	}
	if st.Running {
		c, err := r.attachShim(ctx, id, opts)
		unlock()
		if !errors.Is(err, errNoShim) {
			return c, c.attached(opts, err)
		}
		return nil, nil // it ended just now: there is no more output
	}
	wait := &attachment{opts: opts, ready: make(chan *attachedConn, 1)}
	r.mu.Lock()
	r.pending[id] = append(r.pending[id], wait)
	r.mu.Unlock()
	unlock()
	defer r.forget(id, wait)
	if opts.Attached != nil {
		if err := opts.Attached(); err != nil {
			return nil, err
		}
	}
	select {
	case c := <-wait.ready:
		return c, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("attach to container %s: %w", id, ctx.Err())
	}
}

// attached tells the caller that it is, or passes on why not.
func (c *attachedConn) attached(opts AttachOptions, err error) error {
	if err == nil && opts.Attached != nil {
		err = opts.Attached()
		if err != nil {
			_ = c.conn.Close()
		}
	}
	return err
}

// attachShim makes the attachment on the shim's side.
func (r *Runtime) attachShim(ctx context.Context, id string, opts AttachOptions) (*attachedConn, error) {
	conn, err := r.dial(ctx, id)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	in := bufio.NewReaderSize(conn, frameHead+frameMax)
	_, err = ask(conn, in, request{
		Op: opAttach, Stdin: opts.Stdin != nil, KeepStdin: opts.KeepStdin,
		Stdout: opts.Stdout != nil, Stderr: opts.Stderr != nil,
	})
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return &attachedConn{conn: conn, in: in}, nil
}

// connectPending attaches those who wait for the start of a container.
func (r *Runtime) connectPending(ctx context.Context, id string) {
	for _, a := range r.takePending(id) {
		c, err := r.attachShim(ctx, id, a.opts)
		if err != nil {
			r.cfg.Log.WarnContext(ctx, "client not attached", "container_id", id, "err", err)
		}
		r.hand(a, c)
	}
}

// dropPending lets those go who wait for the start of a container.
func (r *Runtime) dropPending(id string) {
	for _, a := range r.takePending(id) {
		r.hand(a, nil)
	}
}

func (r *Runtime) takePending(id string) []*attachment {
	r.mu.Lock()
	defer r.mu.Unlock()
	waiting := r.pending[id]
	delete(r.pending, id)
	return waiting
}

// hand gives a waiting client its connection.
func (r *Runtime) hand(a *attachment, c *attachedConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a.gone && c != nil {
		_ = c.conn.Close()
		return
	}
	a.ready <- c // has room: it receives once
}

// forget takes a client off the list, and closes the connection it did not
// wait for.
func (r *Runtime) forget(id string, a *attachment) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a.gone = true
	left := slices.DeleteFunc(r.pending[id], func(b *attachment) bool { return a == b })
	if r.pending[id] = left; len(left) == 0 {
		delete(r.pending, id)
	}
	select {
	case c := <-a.ready:
		if c != nil {
			_ = c.conn.Close()
		}
	default:
	}
}

// stream copies until the output ends.
func (c *attachedConn) stream(ctx context.Context, opts AttachOptions) error {
	defer func() { _ = c.conn.Close() }()
	defer context.AfterFunc(ctx, func() { _ = c.conn.Close() })()
	inputOnly := opts.Stdout == nil && opts.Stderr == nil
	if opts.Stdin != nil {
		go func() { // ends with opts.Stdin or, one Read later, with the connection
			_, _ = io.Copy(c.conn, opts.Stdin)
			_ = c.conn.CloseWrite()
		}()
	}
	err := copyFrames(c.in, opts.Stdout, opts.Stderr)
	if ctx.Err() != nil && !inputOnly {
		return ctx.Err()
	}
	return err
}

// attachLogs sends the log, then goes on with it. Standard input has a
// connection of its own.
func (r *Runtime) attachLogs(ctx context.Context, id string, opts AttachOptions) error {
	st, err := r.State(ctx, id)
	if err != nil {
		return err
	}
	if !st.Running {
		if err := r.Logs(ctx, id, LogOptions{Tail: -1}, opts.Stdout, opts.Stderr); err != nil {
			return err
		}
		opts.Logs = false
		return r.Attach(ctx, id, opts)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if opts.Stdin != nil {
		input := AttachOptions{Stdin: opts.Stdin, KeepStdin: opts.KeepStdin}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_ = r.Attach(ctx, id, input) // the output tells what became of the container
		}()
		defer func() { cancel(); <-ended }()
	}
	if opts.Attached != nil {
		if err := opts.Attached(); err != nil {
			return err
		}
	}
	return r.Logs(ctx, id, LogOptions{Follow: true, Tail: -1}, opts.Stdout, opts.Stderr)
}
