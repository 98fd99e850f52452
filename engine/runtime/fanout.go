package runtime

import (
	"io"
	"net"
	"sync"
	"time"
)

// fanout brings a process's output to its log and to whoever is attached.
// Output waits for the slowest client that is attached, as with dockerd: none
// loses any. It is safe for concurrent use.
type fanout struct {
	mu       sync.Mutex // guards the fields below, and orders output and newcomers
	log      *logWriter // nil: nothing is kept
	logErr   error      // the first one; later output is delivered but not logged
	clients  map[*client]struct{}
	watchers map[chan struct{}]struct{}
	ended    bool
}

// client is an attached connection.
type client struct {
	conn           *net.UnixConn
	stdout, stderr bool
	gone           chan struct{} // closed when it gets nothing more

	mu     sync.Mutex // held while a frame is written
	buf    []byte
	closed bool
}

func newFanout(log *logWriter) *fanout {
	return &fanout{log: log, clients: map[*client]struct{}{}, watchers: map[chan struct{}]struct{}{}}
}

// pump copies r, one of the process's pipes, until its other end is closed.
func (f *fanout) pump(stream byte, r io.Reader) {
	buf := make([]byte, frameMax)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			for _, c := range f.take(stream, buf[:n]) {
				if !c.send(stream, buf[:n]) {
					f.detach(c)
				}
			}
		}
		if err != nil {
			f.mu.Lock()
			if f.log != nil {
				f.note(f.log.flush(stream))
			}
			f.mu.Unlock()
			return
		}
	}
}

// take logs p and gives the clients that want it.
func (f *fanout) take(stream byte, p []byte) []*client {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.log != nil && f.logErr == nil {
		f.note(f.log.write(stream, p))
	}
	var to []*client
	for c := range f.clients {
		if (stream == streamStdout && c.stdout) || (stream == streamStderr && c.stderr) {
			to = append(to, c)
		}
	}
	return to
}

// note wakes the watchers of the log, and remembers err. The caller holds mu.
func (f *fanout) note(err error) {
	if err != nil && f.logErr == nil {
		f.logErr = err
	}
	for w := range f.watchers {
		select {
		case w <- struct{}{}:
		default: // it has not seen the last one yet
		}
	}
}

// attach adds a client: it gets all output that is read from now on. After the
// end of the output it gets none.
func (f *fanout) attach(c *client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		close(c.gone)
		return
	}
	f.clients[c] = struct{}{}
}

func (f *fanout) detach(c *client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.clients[c]; ok {
		delete(f.clients, c)
		close(c.gone)
	}
}

// watch gives a channel that receives after the log has grown and is closed
// after its end.
func (f *fanout) watch() (grown <-chan struct{}, cancel func()) {
	w := make(chan struct{}, 1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		close(w)
		return w, func() {}
	}
	f.watchers[w] = struct{}{}
	return w, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, w)
	}
}

// hurry bounds how long the clients may take for what is left.
func (f *fanout) hurry(until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.clients {
		_ = c.conn.SetWriteDeadline(until)
	}
}

// end lets everybody go: there is no more output.
func (f *fanout) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	for c := range f.clients {
		delete(f.clients, c)
		close(c.gone)
	}
	for w := range f.watchers {
		delete(f.watchers, w)
		close(w)
	}
}

// send writes a frame and reports whether the client is still there.
func (c *client) send(stream byte, p []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.buf = appendFrame(c.buf[:0], stream, p)
	_, err := c.conn.Write(c.buf)
	c.closed = err != nil
	return err == nil
}
