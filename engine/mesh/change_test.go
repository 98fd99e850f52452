package mesh_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// elements gives what the sets of a namespace's mesh hold, sorted.
func elements(t *testing.T, ns *kernel.Namespace) []string {
	t.Helper()
	var out []string
	set := ""
	for line := range strings.Lines(netnstest.Exec(t, ns, "nft", "list", "table", "inet", "weft-mesh")) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "set "), strings.HasPrefix(line, "map "):
			set = line
		case strings.HasPrefix(line, "chain "):
			set = ""
		case set != "":
			for e := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(line, "elements = { "), " }"), ", ") {
				out = append(out, set+strings.TrimSuffix(e, ","))
			}
		}
	}
	slices.Sort(out)
	return out
}

// Changes, one after the other, come to what is written at once.
func TestChangesComeToTheSame(t *testing.T) {
	netnstest.Require(t)
	sandbox := func() (*mesh.Node, *kernel.Namespace) {
		ns, _ := netnstest.Sandbox(t)
		netnstest.Exec(t, ns, "ip", "link", "add", "eth0", "up", "type", "bridge")
		n, err := mesh.OpenNode(ns, mesh.Place{
			Interface: "eth0", Addr: netip.MustParsePrefix("10.0.0.2/16"), AddrV6: netip.MustParsePrefix("fd00::2/96"),
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		return n, ns
	}
	changed, ns := sandbox()
	random := rand.New(rand.NewPCG(1, 2))
	now := map[mesh.Port]mesh.Service{}
	for range 200 {
		s := mesh.Service{Port: mesh.Port{Proto: unix.IPPROTO_TCP, Published: uint16(8000 + random.IntN(10))}}
		if random.IntN(2) == 0 {
			s.Proto = unix.IPPROTO_UDP
		}
		s.Algorithm = []mesh.Algorithm{"", mesh.Random, mesh.SourceHash}[random.IntN(3)]
		s.Masquerade = random.IntN(2) == 0
		for range random.IntN(5) {
			b := mesh.Backend{Addr: netip.AddrFrom4([4]byte{10, 0, 1, byte(random.IntN(8))}), Foreign: random.IntN(3) == 0}
			if random.IntN(2) == 0 {
				b.AddrV6 = netip.MustParseAddr("fd00::9")
			}
			s.Backends = append(s.Backends, b)
		}
		if err := changed.Change([]mesh.Service{s}); err != nil {
			t.Fatal(err)
		}
		now[s.Port] = s
	}
	var list []mesh.Service
	for _, s := range now {
		list = append(list, s)
	}
	whole, other := sandbox()
	if err := whole.Set(list); err != nil {
		t.Fatal(err)
	}
	got, want := elements(t, ns), elements(t, other)
	if len(want) < 20 || !slices.Equal(got, want) {
		t.Errorf("after changes:\n%s\nat once:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if err := changed.Set(nil); err != nil {
		t.Fatal(err)
	}
	if left := strings.Join(elements(t, ns), "\n"); strings.Contains(left, "elements") || strings.Contains(left, "10.0.1.") {
		t.Errorf("left without services:\n%s", left)
	}
}

// reserver lends ports, but not the taken one.
type reserver struct {
	taken uint16
	held  map[uint16]int
}

func (r *reserver) reserve(p model.PublishedPort, _ netip.AddrPort) (io.Closer, error) {
	if p.HostPort == r.taken {
		return nil, fmt.Errorf("somebody has it: %w", unix.EADDRINUSE)
	}
	r.held[p.HostPort]++
	return closer(func() { r.held[p.HostPort]-- }), nil
}

type closer func()

func (c closer) Close() error { c(); return nil }

// A port somebody has is answered at once it is free.
func TestRefusedPort(t *testing.T) {
	netnstest.Require(t)
	ns, _ := netnstest.Sandbox(t)
	r := &reserver{taken: 8001, held: map[uint16]int{}}
	var said []string
	h, err := mesh.OpenHost(mesh.HostConfig{
		Namespace: ns, IPv6: true, Source: netip.MustParseAddr("192.0.2.1"), Reserve: r.reserve,
		Holder: func(string, uint16) string { return "httpd (PID 7)" },
		Refuse: func(_ mesh.Port, why error) { said = append(said, why.Error()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	at := func(port uint16, addrs ...string) mesh.Listen {
		l := mesh.Listen{Port: mesh.Port{Proto: unix.IPPROTO_TCP, Published: port}}
		for _, a := range addrs {
			l.Addrs = append(l.Addrs, netip.MustParseAddr(a))
		}
		return l
	}
	has := func(want ...string) {
		t.Helper()
		got := strings.Join(elements(t, ns), "\n")
		for _, port := range []string{"8000", "8001", "8002"} {
			if strings.Contains(got, port) != slices.Contains(want, port) {
				t.Errorf("answered at:\n%s\nwant %v", got, want)
			}
		}
	}
	err = h.Set([]mesh.Listen{at(8000), at(8001), at(8002, "192.0.2.1")})
	if err != nil || len(said) != 1 || !strings.Contains(said[0], "8001/tcp: somebody has it: address already in use: it is held by httpd (PID 7)") || h.Refused(at(8001).Port) == nil || h.Refused(at(8000).Port) != nil {
		t.Errorf("a port somebody has: %v, %q", err, said)
	}
	has("8000", "8002")
	if err := h.Retry(); err != nil || len(said) != 1 {
		t.Errorf("said again: %v, %q", err, said)
	}
	r.taken = 0
	if err := h.Retry(); err != nil || h.Refused(at(8001).Port) != nil {
		t.Errorf("a port that is free: %v", err)
	}
	has("8000", "8001", "8002")
	if err := h.Change([]mesh.Listen{at(8002)}, []mesh.Port{at(8000).Port}); err != nil {
		t.Fatal(err)
	}
	has("8001", "8002")
	if err := h.Set(nil); err != nil {
		t.Fatal(err)
	}
	has()
	if got := fmt.Sprint(r.held); got != "map[8000:0 8001:0 8002:0]" {
		t.Errorf("held: %s", got)
	}
}
