package cmdenv

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/docker/docker/client"
)

// Env is the world of one invocation. The exported fields are set before flags
// are parsed and not changed afterwards.
type Env struct {
	In  io.Reader
	Out io.Writer
	Err io.Writer

	// Now is the clock; Getenv the environment.
	Now    func() time.Time
	Getenv func(string) string

	// Sleep waits, or gives the cause of ctx's end when that comes first.
	Sleep func(ctx context.Context, d time.Duration) error
	// Dial opens connections to what is not an engine.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Sockets are the places looked at when nothing names an engine.
	Sockets Sockets
	// Dirs are where the built-in engine and labs keep their things.
	Dirs Dirs

	opts   options
	level  slog.LevelVar
	logger *slog.Logger

	mu     sync.Mutex // guards what follows
	conn   *connection
	config *Config
	lines  *bufio.Reader // In, once something was asked
}

// Sockets are paths of unix sockets, in the order they are tried.
type Sockets struct {
	Docker string   // Docker's default
	Weft   []string // the built-in engine's
}

// System gives the Env of this process.
func System() *Env {
	return New(os.Stdin, os.Stdout, os.Stderr, os.Getenv) //nolint:forbidigo // the one place that takes the process's streams
}

// New gives an Env over these streams and this environment, with the system's
// clock and the default sockets.
func New(in io.Reader, out, errOut io.Writer, getenv func(string) string) *Env {
	e := &Env{In: in, Out: out, Err: errOut, Getenv: getenv}
	e.Now = time.Now //nolint:forbidigo // where the clock is injected
	e.Sleep = sleep
	e.Dial = (&net.Dialer{}).DialContext
	e.Sockets = DefaultSockets(os.Geteuid(), getenv)
	e.Dirs = DefaultDirs(os.Geteuid(), getenv)
	e.logger = slog.New(slog.NewTextHandler(errOut, &slog.HandlerOptions{Level: &e.level}))
	return e
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// DefaultSockets gives the sockets tried for a user. It puts the user's own engine before the system's.
func DefaultSockets(uid int, getenv func(string) string) Sockets {
	const name = "engine.sock"
	docker, _ := unixPath(client.DefaultDockerHost)
	paths := []string{filepath.Join(systemDirs().Run, name)}
	if own := filepath.Join(DefaultDirs(uid, getenv).Run, name); own != paths[0] {
		paths = append([]string{own}, paths...)
	}
	return Sockets{Docker: docker, Weft: paths}
}

// Log gives the logger of this invocation: text on Err, at --log-level, which
// --debug lowers. Commands log nothing above debug level.
func (e *Env) Log() *slog.Logger { return e.logger }

// Debug reports whether --debug was given.
func (e *Env) Debug() bool { return e.opts.debug }

// Close ends the connection to the engine, if one was opened.
func (e *Env) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil || e.conn.client == nil {
		return nil
	}
	return e.conn.client.Close()
}
