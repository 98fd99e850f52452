package dockerapi

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/moby/term"

	"weft/engine/fault"
)

// lingering bounds how long a connection stays open after its last byte. A
// client that sees the end closes its side at once; closing first, with input
// of its unread, would turn its end of stream into a connection reset.
const lingering = 2 * time.Second

func (s *Server) containerAttach(w *response, r *request) error {
	keys, err := detachKeys(r)
	if err != nil {
		return err
	}
	c, err := s.cfg.Containers.Container(r.Context(), r.vars["name"])
	if err != nil {
		return err
	}
	tty := c.Spec.Process.TTY
	// The request's own context ends with the client's input, the watch of the
	// connection ends this one when the client goes.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	conn := &hijacked{ready: make(chan struct{}), cancel: cancel}
	defer conn.close()
	opts := AttachOptions{Logs: r.flag("logs"), Stream: r.flag("stream")}
	stdout, stderr, _ := splitStreams(conn, tty)
	if r.flag("stdout") {
		opts.Stdout = stdout
	}
	if r.flag("stderr") {
		opts.Stderr = stderr
	}
	if r.flag("stdin") {
		opts.Stdin = conn
		if tty {
			opts.Stdin = &detachable{term.NewEscapeProxy(conn, keys), ctx, cancel}
		}
	}
	err = s.cfg.Containers.Attach(ctx, c.ID, opts, func() error { return conn.take(w, upgrade(r, tty)) })
	if err == nil && !w.started { // nothing was there to attach to
		err = conn.take(w, upgrade(r, tty))
	}
	if ctx.Err() != nil && w.started {
		return nil
	}
	return err
}

// detachKeys reads the key sequence that ends an attachment to a terminal.
func detachKeys(r *request) ([]byte, error) {
	return keySequence(r.query.Get("detachKeys"))
}

func keySequence(v string) ([]byte, error) {
	if v == "" {
		return []byte{16, 17}, nil // ctrl-p, ctrl-q
	}
	keys, err := term.ToBytes(v)
	if err != nil {
		return nil, fault.Invalid("Invalid detach keys (%s) provided", v)
	}
	return keys, nil
}

// upgrade is the header that turns the connection over. Clients that did not
// ask for an upgrade get the form of API 1.19 and before.
func upgrade(r *request, tty bool) string {
	if _, ok := r.Header["Upgrade"]; !ok {
		return "HTTP/1.1 200 OK\r\nContent-Type: " + types.MediaTypeRawStream + "\r\n\r\n"
	}
	return "HTTP/1.1 101 UPGRADED\r\nContent-Type: " + mediaType(r, tty) + "\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
}

// hijacked is a connection that is taken over later: reads and writes wait for
// it.
type hijacked struct {
	ready  chan struct{} // closed once conn and in are set, or never will be
	once   sync.Once     // closes ready
	cancel context.CancelFunc

	conn   net.Conn // nil when it never was taken
	in     *bufio.Reader
	hangup *hangupWatch

	mu sync.Mutex // guards writing
}

// take hijacks the connection and sends the header.
func (h *hijacked) take(w http.ResponseWriter, header string) error {
	defer h.once.Do(func() { close(h.ready) })
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fault.Internal("take the connection over: %w", err)
	}
	h.hangup, err = watchHangup(conn, h.cancel)
	if err != nil {
		return errors.Join(fault.Internal("watch the connection: %w", err), conn.Close())
	}
	h.conn, h.in = conn, buf.Reader
	if _, err := io.WriteString(conn, header); err != nil {
		return fmt.Errorf("answer the client: %w", err)
	}
	return nil
}

func (h *hijacked) Read(p []byte) (int, error) {
	<-h.ready
	if h.conn == nil {
		return 0, net.ErrClosed
	}
	return h.in.Read(p)
}

func (h *hijacked) Write(p []byte) (int, error) {
	<-h.ready
	if h.conn == nil {
		return 0, net.ErrClosed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.conn.Write(p)
}

// close ends the output and, when the client has seen that, the connection.
func (h *hijacked) close() {
	h.once.Do(func() { close(h.ready) })
	if h.conn == nil {
		return
	}
	if half, ok := h.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		timer := time.NewTimer(lingering)
		defer timer.Stop()
		select {
		case <-h.hangup.done:
		case <-timer.C:
		}
	}
	h.hangup.stop()
	_ = h.conn.Close()
}

// detachable is the input of a terminal, in which a key sequence detaches.
type detachable struct {
	io.Reader
	ctx    context.Context
	cancel context.CancelFunc
}

func (d *detachable) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	if errors.As(err, new(term.EscapeError)) {
		d.cancel()
		<-d.ctx.Done()
		// Not the end of the input, which would be passed on to the process.
		return 0, d.ctx.Err()
	}
	return n, err
}
