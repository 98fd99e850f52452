package kernel_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/testenv"
)

// need ends a test where the process lacks what the package is about.
func need(tb testing.TB) {
	tb.Helper()
	if err := kernel.Probe(tb.Context()).Privileges; err != nil {
		testenv.Lacks(tb, "%v", err)
	}
}

// create makes a namespace that ends with the test.
func create(tb testing.TB) *kernel.Namespace {
	tb.Helper()
	need(tb)
	path := filepath.Join(tb.TempDir(), "dir", "ns")
	ns, err := kernel.Create(path)
	must(tb, err)
	tb.Cleanup(func() {
		must(tb, kernel.Remove(path))
		must(tb, ns.Close())
	})
	return ns
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func interfaces(tb testing.TB) (names []string) {
	tb.Helper()
	list, err := net.Interfaces()
	must(tb, err)
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names
}

func TestDoRunsInsideAndComesBack(t *testing.T) {
	ns := create(t)
	home := strings.Join(interfaces(t), " ")
	process, err := os.Readlink("/proc/self/ns/net")
	must(t, err)
	// Many at once, so that the first thread takes its turn.
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			err := kernel.Do(ns, func() error {
				here, err := kernel.Current()
				if err != nil {
					return err
				}
				defer func() { _ = here.Close() }()
				if !here.Same(ns) {
					return errors.New("not inside")
				}
				if now, _ := os.Readlink("/proc/self/ns/net"); now != process {
					return errors.New("the first thread is inside, which /proc/self shows to everybody")
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range 100 {
		wg.Go(func() {
			if now := strings.Join(interfaces(t), " "); now != home {
				t.Errorf("a thread came back elsewhere: it sees %s, not %s", now, home)
			}
		})
	}
	wg.Wait()
}

func TestDoReportsWhatFnDoes(t *testing.T) {
	ns := create(t)
	wrong := errors.New("wrong")
	if err := kernel.Do(ns, func() error { return wrong }); !errors.Is(err, wrong) {
		t.Errorf("error is %v", err)
	}
	if err := kernel.Do(ns, func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("a function that did not return has no error")
	}
	must(t, kernel.Do(ns, func() error { return kernel.Do(ns, func() error { return nil }) }))
}

func TestDoAbandonsAThreadThatCannotComeBack(t *testing.T) {
	ns := create(t)
	var tid int
	must(t, kernel.Do(ns, func() error {
		tid = unix.Gettid()
		// Without this capability the way back is closed to the thread.
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&header, &data[0]); err != nil {
			return err
		}
		data[0].Effective &^= 1 << unix.CAP_SYS_ADMIN
		data[0].Permitted &^= 1 << unix.CAP_SYS_ADMIN
		return unix.Capset(&header, &data[0])
	}))
	for range 1000 {
		if unix.Tgkill(unix.Getpid(), tid, 0) != nil {
			return
		}
		runtime.Gosched()
		must(t, kernel.Do(ns, func() error {
			if unix.Gettid() == tid {
				return errors.New("the thread is in use again")
			}
			return nil
		}))
	}
	t.Error("the thread lives on")
}

func TestLifeOfANamespace(t *testing.T) {
	ns := create(t)
	path := ns.Path()
	dir := filepath.Dir(path)
	if _, err := kernel.Create(path); !errdefs.IsConflict(err) {
		t.Errorf("second Create: %v", err)
	}
	if names, err := kernel.List(dir); err != nil || len(names) != 1 || names[0] != "ns" {
		t.Errorf("List: %v, %v", names, err)
	}
	again, err := kernel.Open(path)
	must(t, err)
	if !again.Same(ns) {
		t.Error("opened another namespace")
	}
	must(t, again.Close())
	must(t, again.Close())
	must(t, kernel.Remove(path))
	must(t, kernel.Remove(path))
	if _, err := kernel.Open(path); !errdefs.IsNotFound(err) {
		t.Errorf("Open after Remove: %v", err)
	}
	must(t, kernel.Do(ns, func() error { return nil })) // it lives while held
	must(t, ns.Bind(path))
	again, err = kernel.Open(path)
	must(t, err)
	if !again.Same(ns) {
		t.Error("Bind mounted another namespace")
	}
	must(t, again.Close())
	if err := ns.Bind(path); !errdefs.IsConflict(err) {
		t.Errorf("Bind onto a file: %v", err)
	}
	if names, err := kernel.List(filepath.Join(dir, "none")); err != nil || names != nil {
		t.Errorf("List of no directory: %v, %v", names, err)
	}
}

func TestWhatIsNoNamespace(t *testing.T) {
	need(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	fifo := filepath.Join(dir, "fifo")
	must(t, unix.Mkfifo(fifo, 0o600))
	for _, path := range []string{file, fifo, dir, filepath.Join(dir, "none"), "/proc/self/ns/uts"} {
		if _, err := kernel.Open(path); !errdefs.IsNotFound(err) {
			t.Errorf("Open(%s): %v", path, err)
		}
	}
	must(t, kernel.Remove(file))
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove left a file without a mount: %v", err)
	}
	if _, err := kernel.Create(filepath.Join(fifo, "x")); err == nil {
		t.Error("Create below a file")
	}
}

func TestSysctls(t *testing.T) {
	ns := create(t)
	before, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	must(t, err)
	for _, want := range []string{"1", "0", "0"} {
		must(t, kernel.SetSysctls(ns, kernel.Sysctl{Key: "net/ipv4/ip_forward", Value: want}))
		if got, err := kernel.GetSysctl(ns, "net/ipv4/ip_forward"); err != nil || got != want {
			t.Errorf("ip_forward is %q, %v", got, err)
		}
	}
	if after, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err != nil || string(after) != string(before) {
		t.Errorf("the host's ip_forward was %q and is %q, %v", before, after, err)
	}
	must(t, kernel.SetSysctls(ns, kernel.Sysctl{Key: "net/no/such", Value: "1", Optional: true}))
	if err := kernel.SetSysctls(ns, kernel.Sysctl{Key: "net/no/such", Value: "1"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("unknown setting: %v", err)
	}
	if _, err := kernel.GetSysctl(ns, "../../etc/passwd"); err == nil {
		t.Error("read a file outside /proc/sys")
	}
}

// device is the index of the first device a namespace gets after lo.
const device = 2

// neighbor puts a permanent neighbor entry of device into the batch.
func neighbor(b *kernel.Batch, msgType, flags uint16, addr [4]byte) {
	header := make([]byte, unix.SizeofNdMsg)
	header[0] = unix.AF_INET
	header[4] = device
	header[8] = unix.NUD_PERMANENT
	b.Begin(msgType, flags, header)
	b.Attr(unix.NDA_DST, addr[:])
	if msgType == unix.RTM_NEWNEIGH {
		b.Attr(unix.NDA_LLADDR, []byte{2, 0, 0, 0, 0, 1})
	}
}

func TestBatch(t *testing.T) {
	ns := create(t)
	h, err := ns.Netlink()
	must(t, err)
	must(t, h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br", Index: device}}))
	if failures, err := ns.Send(&kernel.Batch{}); err != nil || failures != nil {
		t.Errorf("empty batch: %v, %v", failures, err)
	}
	const n = 3000 // several writes
	var b kernel.Batch
	for i := range n {
		neighbor(&b, unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_EXCL, [4]byte{10, 0, byte(i >> 8), byte(i)})
	}
	failures, err := ns.Send(&b)
	must(t, err)
	if len(failures) != 0 {
		t.Fatalf("%d failures, first %+v", len(failures), failures[0])
	}
	list, err := h.NeighList(device, unix.AF_INET)
	must(t, err)
	if len(list) != n {
		t.Errorf("%d entries, want %d", len(list), n)
	}

	// Every one of them refused: each is told of, none is lost.
	failures, err = ns.Send(&b)
	must(t, err)
	if len(failures) != n {
		t.Fatalf("%d failures, want %d", len(failures), n)
	}
	for i, f := range failures {
		if f.Index != i || !errors.Is(f.Err, unix.EEXIST) {
			t.Fatalf("failure %d is %+v", i, f)
		}
	}

	// One refused among others.
	var mixed kernel.Batch
	neighbor(&mixed, unix.RTM_DELNEIGH, 0, [4]byte{10, 0, 0, 1})
	neighbor(&mixed, unix.RTM_DELNEIGH, 0, [4]byte{10, 9, 9, 9})
	neighbor(&mixed, unix.RTM_DELNEIGH, 0, [4]byte{10, 0, 0, 2})
	failures, err = ns.Send(&mixed)
	must(t, err)
	if len(failures) != 1 || failures[0].Index != 1 || !errors.Is(failures[0].Err, unix.ENOENT) {
		t.Errorf("failures: %+v", failures)
	}
	list, err = h.NeighList(device, unix.AF_INET)
	must(t, err)
	if len(list) != n-2 {
		t.Errorf("%d entries, want %d", len(list), n-2)
	}
}

func TestProbe(t *testing.T) {
	need(t)
	home := strings.Join(interfaces(t), " ")
	c := kernel.Probe(t.Context())
	must(t, c.Overlay())
	must(t, c.NFTables)
	must(t, c.IPv6)
	if now := strings.Join(interfaces(t), " "); now != home {
		t.Errorf("interfaces were %s and are %s", home, now)
	}
	if c.ESP != nil && !errdefs.IsNotImplemented(c.ESP) {
		t.Errorf("ESP: %v", c.ESP)
	}
}

// A host that begins to forward IPv6 keeps what routers tell it, and one that
// did not listen to them does not begin to.
func TestKeepAdvertisedRoutes(t *testing.T) {
	ns := create(t)
	must(t, kernel.Do(ns, func() error {
		for _, name := range []string{"learns", "deaf"} {
			if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, kernel.SetSysctls(ns,
		kernel.Sysctl{Key: "net/ipv6/conf/learns/accept_ra", Value: "1"}, kernel.Sysctl{Key: "net/ipv6/conf/deaf/accept_ra", Value: "0"}))
	must(t, kernel.SetSysctls(ns, kernel.Sysctl{Key: "net/ipv6/conf/default/accept_ra", Value: "1"}))
	must(t, kernel.KeepAdvertisedRoutes(ns))
	for name, want := range map[string]string{"learns": "2", "deaf": "0", "default": "1"} {
		if got, err := kernel.GetSysctl(ns, "net/ipv6/conf/"+name+"/accept_ra"); err != nil || got != want {
			t.Errorf("%s: accept_ra is %s, want %s: %v", name, got, want, err)
		}
	}
}
