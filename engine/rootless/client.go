package rootless

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// Config says which holder is meant, and how it is started.
type Config struct {
	Dir    string   // of its socket; made where it is missing
	Self   string   // a binary whose main knows HolderName; what Run runs
	Egress bool     // its network gets a way out, where there is one
	Clear  []string // names below Dir that mean nothing without it: removed before its start and after its end
}

// Files in Config.Dir while there is a holder.
const (
	socketName = "holder.sock"
	logName    = "holder.log"
	resolvName = "resolv.conf" // where there is a way out
)

// ownFiles are those that are removed with the holder.
func ownFiles() []string { return []string{socketName, logName, resolvName} }

// World is a client's hold on a holder. It must be left by Leave or End.
type World struct {
	cfg  Config
	lock *os.File
}

// Needed reports whether this process has to enter a World to do what takes
// root.
func Needed() bool { return os.Geteuid() != 0 }

// Enter gives the holder of cfg.Dir, starting it if there is none. It fails
// with Forbidden or Unsupported where user namespaces can't be made.
func Enter(ctx context.Context, cfg Config) (*World, error) {
	if err := ownDir(cfg.Dir); err != nil {
		return nil, err
	}
	lock, err := os.Open(cfg.Dir)
	if err != nil {
		return nil, fault.Internal("open %s: %w", cfg.Dir, err)
	}
	w := &World{cfg: cfg, lock: lock}
	if err := w.ensure(ctx); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return w, nil
}

// ownDir makes a directory nobody else can write to.
func ownDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.Internal("make the run directory: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		return fault.Internal("look at %s: %w", dir, err)
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o022 != 0 {
		return fault.Forbidden("%s must belong to you and be writable by nobody else: choose another --run-dir", dir)
	}
	// sockaddr_un of <linux/un.h> has room for 108 bytes with the final zero.
	if n := len(filepath.Join(dir, socketName)); n > 107 {
		return fault.Invalid("run directory %s is too long: its sockets could not be reached; choose a shorter one", dir)
	}
	return nil
}

// ensure starts the holder unless it is there, and keeps a shared lock that
// says somebody uses it.
func (w *World) ensure(ctx context.Context) error {
	for {
		if err := w.flock(ctx, unix.LOCK_SH); err != nil {
			return err
		}
		if c, err := w.dial(); err == nil {
			return c.Close()
		}
		if err := w.flock(ctx, unix.LOCK_EX); err != nil {
			return err
		}
		if c, err := w.dial(); err == nil {
			_ = c.Close()
			continue // somebody was faster
		}
		if err := w.start(ctx); err != nil {
			return err
		}
	}
}

// flock takes the lock of the directory, in place of the one held.
func (w *World) flock(ctx context.Context, how int) error {
	const every = 10 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := unix.Flock(int(w.lock.Fd()), how|unix.LOCK_NB)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return fault.Internal("lock %s: %w", w.cfg.Dir, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for another command that uses %s: %w", w.cfg.Dir, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func (w *World) path(name string) string { return filepath.Join(w.cfg.Dir, name) }

func (w *World) dial() (*net.UnixConn, error) { return dial(w.path(socketName)) }

func dial(socket string) (*net.UnixConn, error) {
	return net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: socket, Net: "unixpacket"})
}

// start runs a holder and returns when it serves its socket. The lock is
// held alone.
func (w *World) start(ctx context.Context) error {
	if err := w.clear(); err != nil {
		return err
	}
	if err := w.launch(ctx); err != nil {
		return errors.Join(err, w.clear())
	}
	return nil
}

// launch starts the holder's process and sees it through to its service.
func (w *World) launch(ctx context.Context) error {
	log, err := os.OpenFile(w.path(logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fault.Internal("open the log of the user namespace's holder: %w", err)
	}
	defer log.Close() //nolint:errcheck // the holder has its own
	null, err := os.Open(os.DevNull)
	if err != nil {
		return fault.Internal("start the user namespace's holder: %w", err)
	}
	defer null.Close() //nolint:errcheck // as above
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fault.Internal("start the user namespace's holder: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "holder"), os.NewFile(uintptr(pair[1]), "client")
	defer ours.Close() //nolint:errcheck // the holder is told by the bytes
	args := []string{HolderName, stageWait, w.cfg.Dir}
	if w.cfg.Egress {
		args = append(args, argEgress)
	}
	proc, err := os.StartProcess(w.cfg.Self, args, &os.ProcAttr{
		Dir: "/", Env: os.Environ(), Files: []*os.File{null, log, log, theirs},
		Sys: &syscall.SysProcAttr{
			Setsid:     true,
			Cloneflags: unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		},
	})
	_ = theirs.Close()
	if err != nil {
		return explain(fmt.Errorf("make a user namespace: %w", err))
	}
	if err := settle(ctx, proc.Pid, ours); err != nil {
		// It is our child and not yet waited for, so the number is still its own.
		_ = proc.Kill()
		_, _ = proc.Wait()
		return err
	}
	return proc.Release() //nolint:wrapcheck // never fails for a process that was started
}

// settle sees a new holder through to its service.
func settle(ctx context.Context, pid int, conn *os.File) error {
	if err := mapUsers(pid); err != nil {
		return err
	}
	c, err := net.FileConn(conn)
	if err != nil {
		return fault.Internal("speak to the user namespace's holder: %w", err)
	}
	defer c.Close() //nolint:errcheck // nothing follows
	defer context.AfterFunc(ctx, func() { _ = c.Close() })()
	if _, err := c.Write([]byte{mapped}); err != nil {
		return fault.Internal("speak to the user namespace's holder: %w", err)
	}
	var r reply
	switch err := json.NewDecoder(c).Decode(&r); {
	case err != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return fault.Internal("wait for the user namespace's holder: %w", err)
	}
	return explain(r.err())
}

// clear removes the files of a holder that is not there, and what is without
// meaning then.
func (w *World) clear() error {
	var errs []error
	for _, name := range slices.Concat(ownFiles(), w.cfg.Clear) {
		if err := os.RemoveAll(w.path(name)); err != nil {
			errs = append(errs, fault.Internal("clear the run directory: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Leave lets go of the holder, which goes on.
func (w *World) Leave() error { return w.lock.Close() }

// End lets go of the holder and ends it, with all that runs inside if force,
// else only when nothing does. One that another client uses goes on. It
// returns when everything is gone.
func (w *World) End(ctx context.Context, force bool) (err error) {
	defer func() { err = errors.Join(err, w.lock.Close()) }()
	if e := unix.Flock(int(w.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); e != nil {
		return nil // whoever is last ends it
	}
	c, err := w.dial()
	if err != nil {
		return w.clear() // it was killed
	}
	defer c.Close() //nolint:errcheck // nothing follows
	holder, err := peerOf(c)
	if err != nil {
		return err
	}
	defer unix.Close(holder) //nolint:errcheck // only polled
	if err := send(c, request{Op: opEnd, Force: force}); err != nil {
		return fault.Internal("end the user namespace's holder: %w", err)
	}
	var r reply
	if _, err := receive(c, &r); err == nil && r.Busy {
		return nil
	}
	if err := awaitExit(ctx, holder); err != nil {
		return err
	}
	return w.clear()
}

// peerOf gives a pidfd of the process that listens at the other end.
func peerOf(c *net.UnixConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return -1, fault.Internal("find the user namespace's holder: %w", errors.Join(err, credErr))
	}
	fd, err := unix.PidfdOpen(int(cred.Pid), 0)
	if err != nil {
		return -1, fault.Internal("find the user namespace's holder: %w", err)
	}
	return fd, nil
}

// awaitExit returns when the process of a pidfd has ended: for a PID 1 that is
// after everything in its namespace.
func awaitExit(ctx context.Context, fd int) error {
	const every = 50 // milliseconds between looks at ctx
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, every) //nolint:gosec // a descriptor
		switch {
		case err != nil && !errors.Is(err, unix.EINTR):
			return fault.Internal("wait for the end of the user namespace's holder: %w", err)
		case n > 0:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("wait for the end of the user namespace's holder: %w", context.Cause(ctx))
		}
	}
}
