package overlay_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
	"weft/engine/overlay"
)

// refused fails the test unless err is of the class and says all of the texts.
func refused(tb testing.TB, err error, class func(error) bool, texts ...string) {
	tb.Helper()
	if err == nil || !class(err) {
		tb.Errorf("error %v (%T) is of another class", err, err)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			tb.Errorf("error %q does not say %q", err, text)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	h := netnstest.Hosts(t, 1, 0)[0]
	open := func(cfg overlay.Config) (err error) {
		h.Do(func() error {
			var d *overlay.Driver
			if d, err = overlay.New(t.Context(), cfg); err == nil {
				return d.Close()
			}
			return nil
		})
		return err
	}
	netnstest.NoLeaks(t, h.Dir, h.NS)
	good := overlay.Config{Dir: h.Dir, VTEP: h.Addr}
	must(t, open(good))

	with := func(change func(*overlay.Config)) overlay.Config {
		cfg := good
		change(&cfg)
		return cfg
	}
	refused(t, open(with(func(c *overlay.Config) { c.VTEP = netip.MustParseAddr("192.0.2.77") })),
		errdefs.IsInvalidArgument, "192.0.2.77", "--data-path-addr")
	refused(t, open(with(func(c *overlay.Config) { c.VTEP = netip.Addr{} })), errdefs.IsInvalidArgument, "--data-path-addr")
	refused(t, open(with(func(c *overlay.Config) { c.Dir = "netns" })), errdefs.IsInvalidArgument, "absolute")
	lacking := &kernel.Capabilities{VXLAN: fault.Unsupported("this kernel has no VXLAN: load the vxlan module")}
	refused(t, open(with(func(c *overlay.Config) { c.Capabilities = lacking })), errdefs.IsNotImplemented, "no VXLAN")
	forbidden := &kernel.Capabilities{Privileges: fault.Forbidden("weft engine needs root")}
	refused(t, open(with(func(c *overlay.Config) { c.Capabilities = forbidden })), errdefs.IsPermissionDenied, "needs root")

	var taken net.PacketConn
	h.Do(func() (err error) {
		taken, err = net.ListenPacket("udp4", "0.0.0.0:4789")
		return err
	})
	refused(t, open(good), errdefs.IsConflict, "UDP port 4789", "--data-path-port")
	must(t, open(with(func(c *overlay.Config) { c.Port = 4790 })))
	must(t, taken.Close())
	must(t, open(good))
	// VXLAN devices of others share the port.
	h.Exec("ip", "link", "add", "vx", "type", "vxlan", "id", "9", "dstport", "4789")
	h.Exec("ip", "link", "set", "vx", "up")
	must(t, open(good))
	h.Exec("ip", "link", "del", "vx")
}

func TestEnsureRefuses(t *testing.T) {
	n := nodes(t, 1)[0]
	netnstest.NoLeaks(t, n.Dir, n.NS)
	for name, tt := range map[string]struct {
		change func(*model.Network)
		class  func(error) bool
		text   string
	}{
		"no subnet":         {func(nw *model.Network) { nw.Subnets = nil }, errdefs.IsInvalidArgument, "0 IPv4 subnets"},
		"no VNI":            {func(nw *model.Network) { nw.Subnets[1].VNI = 0 }, errdefs.IsInvalidArgument, "VNI 0 of subnet 10.2.2.0/24"},
		"VNI too large":     {func(nw *model.Network) { nw.Subnets[1].VNI = 1 << 24 }, errdefs.IsInvalidArgument, "16777215"},
		"VNI twice":         {func(nw *model.Network) { nw.Subnets[1].VNI = nw.Subnets[0].VNI }, errdefs.IsInvalidArgument, "no other"},
		"gateway elsewhere": {func(nw *model.Network) { nw.Subnets[0].Gateway = netip.MustParseAddr("10.9.9.1") }, errdefs.IsInvalidArgument, "10.9.9.1 is not in subnet 10.2.1.0/24"},
		"small IPv6 subnet": {func(nw *model.Network) { nw.Subnets[2] = subnet("fd02:1::/112", 0) }, errdefs.IsInvalidArgument, "/96 or larger"},
		"encrypted":         {func(nw *model.Network) { nw.Options = map[string]string{"encrypted": ""} }, errdefs.IsNotImplemented, "encrypted"},
		"ID with a path":    {func(nw *model.Network) { nw.ID = "../../etc" }, errdefs.IsInvalidArgument, "letters and digits"},
		"IPv6 and low MTU":  {func(nw *model.Network) { nw.MTU = 1200 }, errdefs.IsInvalidArgument, "IPv6 needs 1280"},
	} {
		t.Run(name, func(t *testing.T) {
			nw := green()
			tt.change(&nw)
			refused(t, n.driver.Ensure(t.Context(), nw), tt.class, tt.text)
		})
	}
	if left := n.driver.Networks(); len(left) != 0 {
		t.Errorf("networks present: %v", left)
	}
}

func TestJoinRefuses(t *testing.T) {
	n := nodes(t, 1)[0]
	nw := green()
	n.ensure(t, nw)
	c := n.run(t, nw, "10.2.1.9")
	good := c.Endpoint
	good.ID, good.Addr, good.IfName, good.MAC = id("cc"), netip.MustParsePrefix("10.2.1.10/24"), "", model.MAC{}
	netnstest.NoLeaks(t, n.Dir, n.NS, inside(t, n, nw), c.ns)
	for name, tt := range map[string]struct {
		change func(*model.Endpoint)
		class  func(error) bool
		text   string
	}{
		"unknown network":      {func(e *model.Endpoint) { e.NetworkID = id("dd") }, errdefs.IsNotFound, "not present"},
		"foreign address":      {func(e *model.Endpoint) { e.Addr = netip.MustParsePrefix("10.3.0.1/24") }, errdefs.IsInvalidArgument, "10.3.0.1 is in no subnet of network green"},
		"no address":           {func(e *model.Endpoint) { e.Addr = netip.Prefix{} }, errdefs.IsInvalidArgument, "in no subnet"},
		"gateway":              {func(e *model.Endpoint) { e.Addr = netip.MustParsePrefix("10.2.1.1/24") }, errdefs.IsInvalidArgument, "gateway"},
		"address in use":       {func(e *model.Endpoint) { e.Addr = c.Addr }, errdefs.IsConflict, "in use by c-10.2.1.9"},
		"another address":      {func(e *model.Endpoint) { e.ID = c.ID }, errdefs.IsConflict, "10.2.1.9 and can't become 10.2.1.10"},
		"interface name taken": {func(e *model.Endpoint) { e.IfName = "eth0" }, errdefs.IsConflict, "already has an interface eth0"},
		"interface name long":  {func(e *model.Endpoint) { e.IfName = "a-name-of-17-byte" }, errdefs.IsInvalidArgument, "15 bytes"},
		"interface name bad":   {func(e *model.Endpoint) { e.IfName = "eth/0" }, errdefs.IsInvalidArgument, "eth/0"},
		"no sandbox":           {func(e *model.Endpoint) { e.Sandbox = n.Dir + "/nothing" }, errdefs.IsNotFound, "sandbox"},
		"sandbox is a file":    {func(e *model.Endpoint) { e.Sandbox = "/etc/passwd" }, errdefs.IsNotFound, "not a network namespace"},
		"multicast MAC":        {func(e *model.Endpoint) { e.MAC = model.MAC{1} }, errdefs.IsInvalidArgument, "multicast"},
		"ID with a path":       {func(e *model.Endpoint) { e.ID = "a/b" }, errdefs.IsInvalidArgument, "letters and digits"},
	} {
		t.Run(name, func(t *testing.T) {
			ep := good
			tt.change(&ep)
			_, err := n.driver.Join(t.Context(), ep)
			refused(t, err, tt.class, tt.text)
		})
	}
	if got := n.driver.Endpoints(nw.ID); len(got) != 1 {
		t.Errorf("endpoints: %v", got)
	}
}

func TestStaticNameAndMAC(t *testing.T) {
	n := nodes(t, 1)[0]
	nw := blue()
	n.ensure(t, nw)
	ns, _ := netnstest.Sandbox(t)
	want := model.Endpoint{
		ID: id("cc"), NetworkID: nw.ID, Sandbox: ns.Path(), Addr: netip.MustParsePrefix("10.1.3.4/16"),
		MAC: model.MAC{2, 1, 2, 3, 4, 5}, IfName: "overlay0",
	}
	got, err := n.driver.Join(t.Context(), want)
	must(t, err)
	if got.MAC != want.MAC || got.IfName != want.IfName {
		t.Errorf("endpoint is %+v", got)
	}
	if out := netnstest.Exec(t, ns, "ip", "addr", "show", "overlay0"); !strings.Contains(out, "02:01:02:03:04:05") || !strings.Contains(out, "10.1.3.4/16") ||
		strings.Contains(out, "inet6") {
		t.Errorf("interface is\n%s", out)
	}
}

func TestAskedMTU(t *testing.T) {
	n := nodes(t, 1)[0]
	for _, tt := range []struct{ asked, want int }{{0, 1450}, {1400, 1400}, {1450, 1450}, {1500, 1450}} {
		nw := blue()
		nw.MTU = tt.asked
		n.ensure(t, nw)
		c := n.run(t, nw, "10.1.0.5")
		if got := mtuOf(t, c.ns, c.IfName); got != tt.want || n.driver.MTU(nw) != tt.want {
			t.Errorf("asked for %d: MTU is %d and said to be %d, want %d", tt.asked, got, n.driver.MTU(nw), tt.want)
		}
		must(t, n.driver.Leave(t.Context(), nw.ID, c.ID))
		must(t, n.driver.Remove(t.Context(), nw.ID))
	}
	if got := strings.Count(n.log.String(), "network MTU lowered"); got != 1 {
		t.Errorf("%d warnings, want 1:\n%s", got, n.log)
	}
}

func TestBusyVNI(t *testing.T) {
	n := nodes(t, 1)[0]
	nw := blue()
	vni := nw.Subnets[0].VNI
	t.Run("another network has it", func(t *testing.T) {
		other := green()
		other.Subnets[0].VNI = vni
		n.ensure(t, other)
		before := netnstest.Take(t, n.Dir, n.NS)
		refused(t, n.driver.Ensure(t.Context(), nw), errdefs.IsConflict, "VNI 4097", "ov-"+other.ID[:12])
		if diff := before.Diff(netnstest.Take(t, n.Dir, n.NS)); diff != "" {
			t.Errorf("left:\n%s", diff)
		}
		must(t, n.driver.Remove(t.Context(), other.ID))
		n.ensure(t, nw)
		must(t, n.driver.Remove(t.Context(), nw.ID))
		n.ensure(t, other)
		must(t, n.driver.Remove(t.Context(), other.ID))
	})
	t.Run("half of a network is undone", func(t *testing.T) {
		n.ensure(t, nw)
		netnstest.NoLeaks(t, n.Dir, n.NS)
		other := green()
		other.Subnets[1].VNI = vni
		refused(t, n.driver.Ensure(t.Context(), other), errdefs.IsConflict, "VNI 4097")
	})
	must(t, n.driver.Remove(t.Context(), nw.ID))
	t.Run("a stranger on the host has it", func(t *testing.T) {
		n.Exec("ip", "link", "add", "vxlan0", "type", "vxlan", "id", "4097", "dstport", "4789")
		refused(t, n.driver.Ensure(t.Context(), nw), errdefs.IsConflict, "vxlan0", "ip link delete vxlan0", "--data-path-port")
		n.Exec("ip", "link", "del", "vxlan0")
	})
	t.Run("an earlier driver's network has it", func(t *testing.T) {
		old := green()
		old.Subnets[0].VNI = vni
		n.ensure(t, old)
		n.crash(t)
		n.ensure(t, nw)
		if !strings.Contains(n.log.String(), "stale network removed") {
			t.Error("no warning")
		}
		must(t, n.driver.Remove(t.Context(), nw.ID))
	})
	t.Run("a namespace that is ending has it", func(t *testing.T) {
		ns, end := netnstest.Sandbox(t)
		n.Exec("ip", "link", "add", "x", "netns", ns.Path(), "type", "vxlan", "id", "4097", "dstport", "4789")
		done := make(chan error, 1)
		go func() { done <- n.driver.Ensure(t.Context(), nw) }()
		select {
		case err := <-done:
			t.Fatalf("Ensure did not wait: %v", err)
		case <-time.After(100 * time.Millisecond):
		}
		end()
		must(t, <-done)
		must(t, n.driver.Remove(t.Context(), nw.ID))
	})
	t.Run("someone out of sight has it", func(t *testing.T) {
		ns, _ := netnstest.Sandbox(t)
		n.Exec("ip", "link", "add", "x", "netns", ns.Path(), "type", "vxlan", "id", "4097", "dstport", "4789")
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := n.driver.Ensure(ctx, nw); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ensure with a deadline: %v", err)
		}
		refused(t, n.driver.Ensure(t.Context(), nw), errdefs.IsConflict, "namespace weft does not know", "--data-path-port")
	})
}

// inside opens the overlay namespace of a network on a node.
func inside(tb testing.TB, n *node, nw model.Network) *kernel.Namespace {
	tb.Helper()
	ns, err := kernel.Open(filepath.Join(n.Dir, "ov-"+nw.ID[:12]))
	must(tb, err)
	tb.Cleanup(func() { must(tb, ns.Close()) })
	return ns
}
