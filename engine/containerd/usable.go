package containerd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/types/known/emptypb"

	"weft/engine/fault"
)

// answerTimeout is how long a daemon may take to answer that it is there.
const answerTimeout = 5 * time.Second

// Usable finds out whether containers can be run by the daemon at a socket and
// gives its version. The error says why not.
func Usable(ctx context.Context, address string) (version string, err error) {
	if err := sameView(ctx, address); err != nil {
		return "", err
	}
	c, err := Open(Ref{Address: address})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return c.Answers(ctx)
}

// Answers makes sure that the daemon does, and gives its version. It fails at
// once where nobody listens.
func (c *Client) Answers(ctx context.Context) (version string, err error) {
	fail := func(err error) (string, error) {
		return "", fault.Unavailable("containerd at %s does not answer: start it and try again: %w", c.ref.Address, err)
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", c.ref.Address)
	if err != nil {
		return fail(err)
	}
	_ = conn.Close()
	v, err := c.client.VersionService().Version(ctx, &emptypb.Empty{}, patient())
	if err != nil {
		return fail(err)
	}
	return v.GetVersion(), nil
}

// sameView makes sure that the daemon sees this process's mounts and
// processes: it is told paths of root file systems, FIFOs and namespaces, and
// tells PIDs.
func sameView(ctx context.Context, address string) error {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", address)
	if err != nil {
		return fault.Unavailable("no containerd at %s: %w", address, err)
	}
	defer func() { _ = conn.Close() }()
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return fault.Internal("%s is no unix socket", address)
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return fault.Internal("ask who listens at %s: %w", address, err)
	}
	var peer *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) { peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err = errors.Join(err, failed); err != nil {
		return fault.Internal("ask who listens at %s: %w", address, err)
	}
	for kind, what := range map[string]string{"mnt": "files", "pid": "processes"} {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", peer.Pid, kind))
		if err != nil {
			return fault.Unavailable("containerd at %s can't be looked at: %w", address, err)
		}
		ours, err := os.Readlink("/proc/self/ns/" + kind)
		if err != nil {
			return fault.Internal("look at this process's namespaces: %w", err)
		}
		if ours != theirs {
			return fault.Unavailable("containerd at %s has a %s namespace of its own: it does not see this engine's %s", address, kind, what)
		}
	}
	return nil
}
