package engine

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"

	"weft/engine/fault"
)

// listenUnix binds a socket only root and its group may use. A socket file
// nobody answers on is what a crash left and is replaced; one that answers
// belongs to a running engine and is refused.
func listenUnix(address string) (net.Listener, error) {
	path, err := socketPath(address)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // clients that may use the socket must reach it
		return nil, fault.Internal("make the directory of %s: %w", path, err)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path) //nolint:noctx // binding a unix socket does not block
	if err != nil {
		return nil, fault.Internal("listen on %s: %w", path, err)
	}
	// Connecting takes write permission, which nobody but the owner has before
	// this, whatever the umask: the group is let in, others never.
	if err := os.Chmod(path, 0o660); err != nil { //nolint:gosec // the group may use it, as with Docker's socket
		return nil, errors.Join(fault.Internal("set the mode of %s: %w", path, err), l.Close())
	}
	return l, nil
}

func removeStale(path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fault.Internal("look at %s: %w", path, err)
	}
	if st.Mode()&fs.ModeSocket == 0 {
		return fault.Conflict("%s exists and is not a socket: remove it or choose another --listen", path)
	}
	c, err := net.DialTimeout("unix", path, time.Second) //nolint:noctx // bounded by its own timeout
	if err == nil {
		_ = c.Close()
		return fault.Conflict("another engine answers on %s: stop it with `weft engine stop`, or choose another --listen", path)
	}
	if err := os.Remove(path); err != nil {
		return fault.Internal("remove the stale socket %s: %w", path, err)
	}
	return nil
}
