package enginecmd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// notifyVar is the environment variable of sd_notify(3) that names the socket
// a service reports its state to.
const notifyVar = "NOTIFY_SOCKET"

// notify reports state to whoever started this process, if it asked.
func notify(getenv func(string) string, state string) error {
	path := getenv(notifyVar)
	if path == "" {
		return nil
	}
	if strings.HasPrefix(path, "@") { // the abstract name space
		path = "\x00" + path[1:]
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("report %s: %w", state, err)
	}
	_, err = c.Write([]byte(state))
	return errors.Join(err, c.Close())
}

// readiness is the receiving end of notify.
type readiness struct {
	conn *net.UnixConn
	dir  string
}

func newReadiness() (*readiness, error) {
	dir, err := os.MkdirTemp("", "weft-start-")
	if err != nil {
		return nil, fmt.Errorf("make a socket to wait on: %w", err)
	}
	r := &readiness{dir: dir}
	r.conn, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: r.path(), Net: "unixgram"})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a socket to wait on: %w", err), os.RemoveAll(dir))
	}
	return r, nil
}

func (r *readiness) path() string { return filepath.Join(r.dir, "ready") }

// wait returns when READY=1 came, or with an error when the context ended.
func (r *readiness) wait(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = r.conn.Close() }) // ends the read below
	defer stop()
	buf := make([]byte, 256)
	for {
		n, err := r.conn.Read(buf)
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		for line := range strings.Lines(string(buf[:n])) {
			if strings.TrimSpace(line) == "READY=1" {
				return nil
			}
		}
	}
}

func (r *readiness) close() error { return errors.Join(r.conn.Close(), os.RemoveAll(r.dir)) }
