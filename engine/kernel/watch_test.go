package kernel_test

import (
	"errors"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/netnstest"
)

// changes counts the calls of a check until the test lets it end.
type changes struct {
	called chan struct{}
	last   chan struct{}
}

func watched(t *testing.T, w *kernel.Watch) (c changes, ended chan error) {
	t.Helper()
	c = changes{called: make(chan struct{}, 1000), last: make(chan struct{})}
	ended = make(chan error, 1)
	go func() {
		ended <- w.Until(func() bool {
			c.called <- struct{}{}
			select {
			case <-c.last:
				return true
			default:
				return false
			}
		})
	}()
	return c, ended
}

func within[T any](t *testing.T, what string, c chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: nothing happened", what)
		panic("unreachable")
	}
}

// calm waits until no more calls come of what was before.
func (c changes) calm() {
	for {
		select {
		case <-c.called:
		case <-time.After(200 * time.Millisecond):
			return
		}
	}
}

func TestWatchMounts(t *testing.T) {
	netnstest.Require(t)
	w, err := kernel.WatchMounts()
	if err != nil {
		t.Fatal(err)
	}
	c, ended := watched(t, w)
	c.calm()
	path := filepath.Join(t.TempDir(), "ns")
	ns, err := kernel.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "mount", c.called)
	c.calm()
	close(c.last)
	if err := errors.Join(kernel.Remove(path), ns.Close()); err != nil {
		t.Fatal(err)
	}
	if err := within(t, "unmount", ended); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}

func TestWatchLinks(t *testing.T) {
	netnstest.Require(t)
	ns, end := netnstest.Sandbox(t)
	defer end()
	w, err := kernel.WatchLinks(ns)
	if err != nil {
		t.Fatal(err)
	}
	c, ended := watched(t, w)
	c.calm()
	if err := kernel.Do(ns, func() error { return exec.Command("ip", "link", "add", "b0", "type", "bridge").Run() }); err != nil {
		t.Fatal(err)
	}
	within(t, "new device", c.called)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := within(t, "closed watch", ended); err == nil {
		t.Error("a closed watch has seen it all")
	}
}

func TestWatchAddresses(t *testing.T) {
	netnstest.Require(t)
	ns, end := netnstest.Sandbox(t)
	defer end()
	w, err := kernel.WatchAddresses(ns)
	if err != nil {
		t.Fatal(err)
	}
	c, ended := watched(t, w)
	c.calm()
	for _, addr := range []string{"192.0.2.1/32", "2001:db8::1/128"} {
		netnstest.Exec(t, ns, "ip", "addr", "add", addr, "dev", "lo")
		within(t, "new address "+addr, c.called)
		c.calm()
	}
	close(c.last)
	netnstest.Exec(t, ns, "ip", "addr", "del", "192.0.2.1/32", "dev", "lo")
	if err := within(t, "address gone", ended); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
}
