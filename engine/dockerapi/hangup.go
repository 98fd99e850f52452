package dockerapi

import (
	"errors"
	"net"
	"os"
	"syscall"

	"weft/engine/fault"
)

// hangupWatch notices that the other side closed a connection. A read can't
// tell that from a client that has no more input and goes on listening;
// EPOLLHUP is for the former only.
type hangupWatch struct {
	poll *os.File
	done chan struct{} // closed when the watch has ended
}

// watchHangup calls gone once the other side has closed conn, unless the watch
// is stopped before. A connection without a descriptor is not watched.
func watchHangup(conn net.Conn, gone func()) (*hangupWatch, error) {
	w := &hangupWatch{done: make(chan struct{})}
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return w, nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil, fault.Internal("descriptor of the connection: %w", err)
	}
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fault.Internal("epoll_create: %w", err)
	}
	// A non-blocking descriptor is waited for by the Go runtime's own poller,
	// so that the watch costs no thread and ends when the file is closed.
	_ = syscall.SetNonblock(fd, true)
	w.poll = os.NewFile(uintptr(fd), "epoll")
	var ctlErr error
	err = raw.Control(func(c uintptr) {
		// Edge-triggered and without EPOLLIN: hang-ups are always reported.
		ctlErr = syscall.EpollCtl(fd, syscall.EPOLL_CTL_ADD, int(c), &syscall.EpollEvent{Events: syscall.EPOLLHUP, Fd: int32(c)}) //nolint:gosec // descriptors are small
	})
	if err == nil {
		err = ctlErr
	}
	if err != nil {
		_ = w.poll.Close()
		return nil, fault.Internal("epoll_ctl: %w", err)
	}
	go w.run(gone)
	return w, nil
}

func (w *hangupWatch) run(gone func()) {
	defer close(w.done)
	raw, err := w.poll.SyscallConn()
	if err != nil {
		return
	}
	events := make([]syscall.EpollEvent, 1)
	err = raw.Read(func(fd uintptr) bool {
		n, err := syscall.EpollWait(int(fd), events, 0)
		return n > 0 || (err != nil && !errors.Is(err, syscall.EINTR))
	})
	if err == nil {
		gone()
	}
}

// stop ends the watch and waits for it.
func (w *hangupWatch) stop() {
	if w.poll != nil {
		_ = w.poll.Close()
		<-w.done
	}
}
