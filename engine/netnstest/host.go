package netnstest

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"weft/engine/kernel"
	"weft/engine/testenv"
)

// underlayMTU is Ethernet's.
const underlayMTU = 1500

// Host is a network namespace that plays a machine: lo and eth0, which is on
// the underlay with an address of each family.
type Host struct {
	NS     *kernel.Namespace
	Name   string     // h1, h2, ...
	Addr   netip.Addr // 10.98.0.N
	AddrV6 netip.Addr // fd98::N
	Dir    string     // for namespaces the host makes; exists not yet

	tb       testing.TB
	underlay *kernel.Namespace
}

// Require ends the test where overlay networks can't be had (testenv.Lacks).
func Require(tb testing.TB) {
	tb.Helper()
	if err := kernel.Probe(tb.Context()).Overlay(); err != nil {
		testenv.Lacks(tb, "%v", err)
	}
}

// TwoHosts gives two hosts on one underlay of Ethernet's MTU.
func TwoHosts(tb testing.TB) (a, b *Host) {
	tb.Helper()
	hosts := Hosts(tb, 2, 0)
	return hosts[0], hosts[1]
}

// Hosts gives n hosts on one underlay, a bridge in a namespace of its own. mtu
// 0 is Ethernet's.
func Hosts(tb testing.TB, n, mtu int) []*Host {
	tb.Helper()
	Require(tb)
	if mtu == 0 {
		mtu = underlayMTU
	}
	dir := tempDir(tb)
	underlay := namespace(tb, filepath.Join(dir, "underlay"))
	Exec(tb, underlay, "ip", "link", "add", "underlay", "mtu", strconv.Itoa(mtu), "type", "bridge", "mcast_snooping", "0")
	Exec(tb, underlay, "ip", "link", "set", "underlay", "up")
	hosts := make([]*Host, n)
	for i := range hosts {
		name := fmt.Sprintf("h%d", i+1)
		path := filepath.Join(dir, name)
		h := &Host{
			NS: namespace(tb, path), Name: name, Dir: filepath.Join(dir, name+".d"), tb: tb, underlay: underlay,
			Addr:   netip.AddrFrom4([4]byte{10, 98, 0, byte(i + 1)}),
			AddrV6: netip.MustParseAddr(fmt.Sprintf("fd98::%x", i+1)),
		}
		ip(tb, underlay, fmt.Sprintf(`link add %s mtu %d type veth peer name eth0 mtu %d netns %s
			link set %s master underlay up`, name, mtu, mtu, path, name))
		ip(tb, h.NS, fmt.Sprintf(`link set lo up
			addr add %s/24 dev eth0
			addr add %s/64 dev eth0 nodad
			link set eth0 up`, h.Addr, h.AddrV6))
		hosts[i] = h
	}
	for _, h := range hosts {
		awaitCarrier(tb, underlay, h.Name)
		awaitCarrier(tb, h.NS, "eth0")
	}
	return hosts
}

// awaitCarrier waits until the kernel, which does so in the background, has
// noticed a device's carrier: a bridge drops what comes to its port before.
func awaitCarrier(tb testing.TB, ns *kernel.Namespace, device string) {
	tb.Helper()
	h, err := ns.Netlink()
	if err != nil {
		tb.Fatal(err)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); ; <-tick.C {
		l, err := h.LinkByName(device)
		if err != nil {
			tb.Fatal(err)
		}
		if l.Attrs().OperState == netlink.OperUp {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s stays %s", device, l.Attrs().OperState)
		}
	}
}

// Sandbox gives a namespace with nothing in it, as a container starts with.
// It ends with the test, or earlier by calling end.
func Sandbox(tb testing.TB) (ns *kernel.Namespace, end func()) {
	tb.Helper()
	ns = namespace(tb, filepath.Join(tempDir(tb), "sandbox"))
	return ns, func() {
		if err := kernel.Remove(ns.Path()); err != nil {
			tb.Errorf("end sandbox: %v", err)
		}
		if err := ns.Close(); err != nil {
			tb.Errorf("end sandbox: %v", err)
		}
	}
}

// tempDir is tb.TempDir without the test's name, in which `ip -batch` takes a
// # for the begin of a comment.
func tempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "weft-netnstest-") //nolint:usetesting // see above
	if err != nil {
		tb.Fatalf("make a directory: %v", err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			tb.Errorf("remove the test's directory: %v", err)
		}
	})
	return dir
}

func namespace(tb testing.TB, path string) *kernel.Namespace {
	tb.Helper()
	ns, err := kernel.Create(path)
	if err != nil {
		tb.Fatalf("make namespace: %v", err)
	}
	tb.Cleanup(func() {
		if err := kernel.Remove(path); err != nil {
			tb.Errorf("remove namespace: %v", err)
		}
		if err := ns.Close(); err != nil {
			tb.Errorf("close namespace: %v", err)
		}
	})
	return ns
}

// Do runs fn inside the host and fails the test on an error.
func (h *Host) Do(fn func() error) {
	h.tb.Helper()
	if err := kernel.Do(h.NS, fn); err != nil {
		h.tb.Fatalf("%s: %v", h.Name, err)
	}
}

// Exec runs a command inside the host and gives its output.
func (h *Host) Exec(args ...string) string {
	h.tb.Helper()
	return Exec(h.tb, h.NS, args...)
}

// Unplug cuts the host off the underlay, or plugs it in again.
func (h *Host) Unplug(off bool) {
	h.tb.Helper()
	state := "up"
	if off {
		state = "down"
	}
	Exec(h.tb, h.underlay, "ip", "link", "set", h.Name, state)
}

// Exec runs a command inside ns and gives its output; the test fails when the
// command does.
func Exec(tb testing.TB, ns *kernel.Namespace, args ...string) string {
	tb.Helper()
	out, err := run(ns, "", args...)
	if err != nil {
		tb.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
	return out
}

// ip runs lines of `ip` commands at once.
func ip(tb testing.TB, ns *kernel.Namespace, script string) {
	tb.Helper()
	if out, err := run(ns, script, "ip", "-batch", "-"); err != nil {
		tb.Fatalf("ip -batch: %v: %s\n%s", err, out, script)
	}
}

func run(ns *kernel.Namespace, stdin string, args ...string) (string, error) {
	var out bytes.Buffer
	err := kernel.Do(ns, func() error {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
		return cmd.Run()
	})
	return out.String(), err
}
