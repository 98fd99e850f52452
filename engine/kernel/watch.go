package kernel

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Watch hears of changes of one kind in the kernel. It takes no thread while
// it waits.
type Watch struct {
	file *os.File
	// drain reads what has been heard, where it has to be read.
	drain func(fd int)
}

// WatchMounts hears of mounts and unmounts in this process's mount namespace
// (proc(5), /proc/pid/mounts: poll).
func WatchMounts() (*Watch, error) {
	const path = "/proc/self/mountinfo"
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("watch the mounts: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	return &Watch{file: os.NewFile(uintptr(fd), path), drain: func(int) {}}, nil
}

// WatchLinks hears of changes of the devices in ns.
func WatchLinks(ns *Namespace) (*Watch, error) { return watch(ns, "devices", unix.RTMGRP_LINK) }

// WatchAddresses hears of changes of the addresses in ns, or of the devices
// that have them.
func WatchAddresses(ns *Namespace) (*Watch, error) {
	return watch(ns, "addresses", unix.RTMGRP_LINK|unix.RTMGRP_IPV4_IFADDR|unix.RTMGRP_IPV6_IFADDR)
}

// watch hears of what the groups of rtnetlink(7) are told.
func watch(ns *Namespace, what string, groups uint32) (*Watch, error) {
	fd := -1
	err := Do(ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
		return err
	})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups})
	}
	if err != nil {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("watch the %s of %s: %w", what, ns.path, err)
	}
	return &Watch{file: os.NewFile(uintptr(fd), "netlink"), drain: drain}, nil
}

// drain reads until nothing is left. What the messages say does not matter,
// nor that some of them got lost (ENOBUFS): something has changed.
func drain(fd int) {
	var b [8192]byte
	for {
		_, _, err := unix.Recvfrom(fd, b[:], unix.MSG_DONTWAIT)
		if err != nil && !errors.Is(err, unix.EINTR) && !errors.Is(err, unix.ENOBUFS) {
			return
		}
	}
}

// Until calls check, and again after every change, until it gives true. It
// fails when the watch is closed before.
func (w *Watch) Until(check func() bool) error {
	raw, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	// One wait for all of it: a change that comes while check runs is not lost.
	return raw.Read(func(fd uintptr) bool {
		w.drain(int(fd))
		return check()
	})
}

// Close ends the watch.
func (w *Watch) Close() error { return w.file.Close() }
