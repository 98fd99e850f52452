package netnstest

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// maxFrame is more than any frame of these tests, in bytes.
const maxFrame = 65536

// Machine plays the virtual machine behind a TAP device of a host: a namespace
// whose eth0 has what the frames of that device carry. It opens the device as
// a hypervisor does, and lets it go at the end of the test. The interface has
// the MAC given and is up, the rest is the caller's.
func Machine(tb testing.TB, host *kernel.Namespace, tap, mac string, mtu int) *kernel.Namespace {
	tb.Helper()
	ns, _ := Sandbox(tb)
	near := openTap(tb, host, tap)
	far := openTap(tb, ns, "eth0")
	var done sync.WaitGroup
	for _, way := range [][2]*os.File{{near, far}, {far, near}} {
		done.Go(func() { pass(way[0], way[1]) })
	}
	tb.Cleanup(func() {
		for _, f := range []*os.File{near, far} {
			if err := f.Close(); err != nil {
				tb.Errorf("let the TAP device go: %v", err)
			}
		}
		done.Wait()
	})
	ip(tb, ns, fmt.Sprintf(`link set lo up
		link set eth0 address %s mtu %d up`, mac, mtu))
	return ns
}

// pass carries frames one by one until either end is closed.
func pass(from, to *os.File) {
	b := make([]byte, maxFrame)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		_, _ = to.Write(b[:n]) // a device that is down takes nothing
	}
}

func openTap(tb testing.TB, ns *kernel.Namespace, name string) *os.File {
	tb.Helper()
	var fd int
	err := kernel.Do(ns, func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		req, err := unix.NewIfreq(name)
		if err != nil {
			return err
		}
		req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	})
	if err != nil {
		tb.Fatalf("open TAP device %s: %v", name, err)
	}
	return os.NewFile(uintptr(fd), name)
}
