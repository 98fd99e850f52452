package main_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
	"weft/engine/probe"
)

// hostileBed has "web" on the last two hosts and "evil", a published service
// too, on all.
type hostileBed struct {
	*meshBed
	evil, web [3]*taskPlace // by host
}

// taskPlace is a task on the ingress network.
type taskPlace struct {
	id     string
	ns     *kernel.Namespace
	iface  string
	addr   netip.Addr
	addrV6 netip.Addr
}

// TestMeshHostile has tasks, containers and neighbors of hosts try what the mesh
// is not for.
func TestMeshHostile(t *testing.T) {
	t.Parallel()
	b := &hostileBed{meshBed: newMeshBed(t)}
	one := b.nodes[0]
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "--subnet", "10.20.0.0/24", "--ipv6", "--subnet", "fd00:20::/64", "ov")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "web", "--mode", "global", "--network", "ov", "--constraint", "node.hostname!=host1",
		"--label", "weft.publish.bind="+b.nodes[0].addr(), "--publish", "8080:80", "--publish", "8080:80/udp", "--publish", "9090:7/sctp", "weft/probe")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "evil", "--mode", "global", "--publish", "8090:80", "--publish", "8090:80/udp", "weft/probe")
	one.weft(t, "run", "-d", "--name", "box", "--network", "ov", "weft/probe")
	for i := range b.nodes {
		b.answers(t, "tcp", b.at(i, 8090))
		b.answers(t, "udp", b.at(i, 8090))
		b.evil[i] = b.attached(t, i, "evil")
		if i > 0 {
			b.web[i] = b.attached(t, i, "web")
		}
	}
	b.answers(t, "tcp", b.at(0, 8080))
	t.Run("unpublished", b.unpublished)
	t.Run("unpublished datagrams", b.unpublishedDatagrams)
	t.Run("unpublished at hosts", b.unpublishedAtHosts)
	t.Run("routers", b.routers)
	t.Run("routers to networks", b.routersTo)
	t.Run("routers from networks", b.routersFrom)
	t.Run("forged", b.forged)
	t.Run("marks", b.marks)
	t.Run("redirected", b.redirected)
	t.Run("marked answers", b.markedAnswers)
	t.Run("marked tasks", b.markedTasks)
	t.Run("uplink", b.uplink)
	t.Run("aliases", b.aliases)
	t.Run("sctp", b.sctp)
}

// attached finds a service's task on a host.
func (b *hostileBed) attached(t *testing.T, i int, service string) *taskPlace {
	t.Helper()
	n := b.nodes[i]
	var id string
	await(t, 10*time.Second, func() (bool, string) {
		id = n.weft(t, "ps", "-q", "--filter", "name="+service+".")
		return id != "", "no task of " + service + " on " + n.Name
	})
	a := &taskPlace{id: id, ns: b.sandbox(n, id), addr: netip.MustParseAddr(n.weft(t, "inspect", "--format", "{{.NetworkSettings.Networks.ingress.IPAddress}}", id))}
	all, err := kernel.Addresses(a.ns)
	must(t, err)
	for _, x := range all {
		if x.Addr == a.addr {
			a.iface = x.Interface
		}
	}
	for _, x := range all {
		if x.Interface == a.iface && x.Addr.Is6() {
			a.addrV6 = x.Addr
		}
	}
	return a
}

// reaches reports whether a namespace connects to an address.
func reaches(from *kernel.Namespace, to string) bool { return len(reached(from, to)) > 0 }

// reached gives the addresses, of some, that a namespace connects to.
func reached(from *kernel.Namespace, to ...string) []string {
	var mu sync.Mutex
	var out []string
	var all sync.WaitGroup
	for _, addr := range to {
		all.Go(func() {
			_ = kernel.Do(from, func() error { // most are not to be reached
				c, err := net.DialTimeout("tcp", addr, time.Second)
				if err != nil {
					return err
				}
				mu.Lock()
				defer mu.Unlock()
				out = append(out, addr)
				return c.Close()
			})
		})
	}
	all.Wait()
	return out
}

// unpublished tries ports of a task over the ingress network, from the same
// host and from others.
func (b *hostileBed) unpublished(t *testing.T) {
	to := b.web[1]
	for i, from := range b.evil {
		var open, closed []string
		for _, addr := range []netip.Addr{to.addr, to.addrV6} {
			open = append(open, netip.AddrPortFrom(addr, 8080).String())
			for _, port := range []uint16{80, 7, 8090} {
				closed = append(closed, netip.AddrPortFrom(addr, port).String())
			}
		}
		if got := reached(from.ns, open...); len(got) != len(open) {
			t.Errorf("host%d: %v are reached at published ports, of %v", i+1, got, open)
		}
		if got := reached(from.ns, closed...); len(got) > 0 {
			t.Errorf("host%d: %v are reached", i+1, got)
		}
	}
}

// unpublishedDatagrams is unpublished for UDP: only what is sent to a published
// port, last, arrives.
func (b *hostileBed) unpublishedDatagrams(t *testing.T) {
	to := b.web[1]
	for i, from := range b.evil {
		for _, addr := range []netip.Addr{to.addr, to.addrV6} {
			in := raw(t, to.ns, addr, unix.IPPROTO_UDP)
			for _, port := range []uint16{80, 7, 8090} {
				says(t, from.ns, "closed", netip.AddrPortFrom(addr, port))
			}
			says(t, from.ns, "open", netip.AddrPortFrom(addr, 8080))
			if got := first([]int{in}, "closed", "open"); got != "open" {
				t.Errorf("host%d to %s: %q arrives", i+1, addr, got)
			}
		}
	}
}

// unpublishedAtHosts tries ports of hosts that tasks have, but nobody published.
func (b *hostileBed) unpublishedAtHosts(t *testing.T) {
	var tasks []int
	for _, p := range append(b.evil[:], b.web[1:]...) {
		tasks = append(tasks, raw(t, p.ns, p.addr, unix.IPPROTO_UDP), raw(t, p.ns, p.addrV6, unix.IPPROTO_UDP))
	}
	var closed []string
	for i := range b.nodes {
		for _, addr := range []netip.Addr{b.nodes[i].Addr.Addr(), b.addrV6(i)} {
			for _, port := range []uint16{80, 7} {
				closed = append(closed, netip.AddrPortFrom(addr, port).String())
				says(t, b.outside, "closed", netip.AddrPortFrom(addr, port))
			}
			says(t, b.outside, "open", netip.AddrPortFrom(addr, 8090))
			if got := first(tasks, "closed", "open"); got != "open" {
				t.Errorf("%s: %q arrives", addr, got)
			}
		}
	}
	if got := reached(b.outside, closed...); len(got) > 0 {
		t.Errorf("%v are reached", got)
	}
}

// routersTo is routers for packets that need no answer, of both families, and by
// tasks that are willing: only what is sent without a router, last, arrives.
func (b *hostileBed) routersTo(t *testing.T) {
	from := b.evil[1]
	for _, p := range b.web[1:] {
		forwards(t, p.ns)
	}
	v6 := b.addrV6(0).As16()
	v6[15] = 200
	outside := [2]netip.Addr{netip.MustParseAddr(strings.TrimSuffix(b.nodes[0].addr(), ".1") + ".200"), netip.AddrFrom16(v6)}
	for _, target := range []struct {
		ns, near *kernel.Namespace // the latter reaches the former
		addrs    [2]netip.Addr
	}{
		{b.sandbox(b.nodes[0], "box"), b.web[1].ns, b.on(t, b.nodes[0], "box")},
		{b.outside, b.hosts[0], outside},
	} {
		by := func(router *kernel.Namespace, via [2]netip.Addr) {
			for family, to := range target.addrs {
				passing, arriving := sniff(t, router), raw(t, target.ns, to, unix.IPPROTO_UDP)
				at := netip.AddrPortFrom(to, 7)
				route := []string{to.String(), "via", via[family].String(), "dev", from.iface}
				netnstest.Exec(t, from.ns, append([]string{"ip", "route", "replace"}, route...)...)
				says(t, from.ns, "through", at)
				if got := first([]int{passing}, "through"); got == "" {
					t.Errorf("by %s: its router does not get the packet", via[family])
				}
				netnstest.Exec(t, from.ns, append([]string{"ip", "route", "del"}, route...)...)
				says(t, target.near, "honest", at)
				if got := first([]int{arriving}, "through", "honest"); got != "honest" {
					t.Errorf("by %s to %s: %q arrives", via[family], to, got)
				}
			}
		}
		for i, p := range b.web {
			by(b.ingressSandbox(t, i), b.nodePlace(t, i))
			if p != nil {
				by(p.ns, [2]netip.Addr{p.addr, p.addrV6})
			}
		}
	}
}

// routersFrom tries to get from a network to a task of the ingress network that
// is not on it, by one that is on both.
func (b *hostileBed) routersFrom(t *testing.T) {
	box, router, task := b.sandbox(b.nodes[0], "box"), b.web[1], b.evil[0]
	forwards(t, router.ns)
	vias := b.on(t, b.nodes[1], router.id)
	for family, to := range [2]netip.Addr{task.addr, task.addrV6} {
		passing, arriving := sniff(t, router.ns), sniff(t, task.ns)
		at := netip.AddrPortFrom(to, 8090)
		netnstest.Exec(t, box, "ip", "route", "add", to.String(), "via", vias[family].String())
		says(t, box, "through", at)
		if got := first([]int{passing}, "through"); got == "" {
			t.Errorf("by %s: its router does not get the packet", vias[family])
		}
		netnstest.Exec(t, box, "ip", "route", "del", to.String(), "via", vias[family].String())
		says(t, router.ns, "honest", at)
		if got := first([]int{arriving}, "through", "honest"); got != "honest" {
			t.Errorf("by %s to %s: %q arrives", vias[family], to, got)
		}
	}
}

// forwards has a namespace forward until the end of the test, if its tables do.
func forwards(t *testing.T, ns *kernel.Namespace) {
	t.Helper()
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"} {
		before, err := kernel.GetSysctl(ns, key)
		must(t, err)
		must(t, kernel.SetSysctls(ns, kernel.Sysctl{Key: key, Value: "1"}))
		t.Cleanup(func() { must(t, kernel.SetSysctls(ns, kernel.Sysctl{Key: key, Value: before})) })
	}
}

// on gives a container's addresses on the network ov.
func (b *hostileBed) on(t *testing.T, n node, container string) (addrs [2]netip.Addr) {
	t.Helper()
	for i, field := range []string{"IPAddress", "GlobalIPv6Address"} {
		addrs[i] = netip.MustParseAddr(n.weft(t, "inspect", "--format", "{{.NetworkSettings.Networks.ov."+field+"}}", container))
	}
	return addrs
}

// nodePlace gives a node's own addresses on the ingress network.
func (b *hostileBed) nodePlace(t *testing.T, i int) (addrs [2]netip.Addr) {
	t.Helper()
	addrs[0] = netip.MustParseAddr(b.ingressAddr(t, i))
	all, err := kernel.Addresses(b.ingressSandbox(t, i))
	must(t, err)
	at := slices.IndexFunc(all, func(a kernel.Address) bool { return a.Addr == addrs[0] })
	for _, a := range all {
		if a.Interface == all[at].Interface && a.Addr.Is6() && !a.Addr.IsLinkLocalUnicast() {
			addrs[1] = a.Addr
		}
	}
	return addrs
}

// routers tries to get to a network by nodes and tasks that are on it.
func (b *hostileBed) routers(t *testing.T) {
	box := b.nodes[0].weft(t, "inspect", "--format", "{{.NetworkSettings.Networks.ov.IPAddress}}", "box")
	if !reaches(b.web[1].ns, box+":80") {
		t.Error("a task on the network does not reach it")
	}
	gateway := strings.Fields(netnstest.Exec(t, b.evil[1].ns, "ip", "route", "show", "default"))[2]
	for _, via := range []string{b.ingressAddr(t, 0), b.ingressAddr(t, 1), b.web[1].addr.String(), b.web[2].addr.String(), gateway} {
		netnstest.Exec(t, b.evil[1].ns, "ip", "route", "replace", box+"/32", "via", via)
		if reaches(b.evil[1].ns, box+":80") {
			t.Errorf("another network is reached by %s", via)
		}
	}
	netnstest.Exec(t, b.evil[1].ns, "ip", "route", "del", box+"/32")
	// And a container that is not on the ingress network gets at tasks there.
	in := b.sandbox(b.nodes[0], "box")
	gateway = strings.Fields(netnstest.Exec(t, in, "ip", "route", "show", "default"))[2]
	for _, port := range []uint16{80, 8080} {
		if reaches(in, netip.AddrPortFrom(b.web[1].addr, port).String()) {
			t.Errorf("the ingress network is reached by %s at port %d", gateway, port)
		}
	}
}

// forged sends frames that are not the sender's own.
func (b *hostileBed) forged(t *testing.T) {
	spoofed := netip.MustParseAddr("198.51.100.66")
	node := model.MACFromAddr(netip.MustParseAddr(b.ingressAddr(t, 0)))
	for i, from := range b.evil {
		for j, to := range b.web[1:] {
			own, target := model.MACFromAddr(from.addr), model.MACFromAddr(to.addr)
			at := netip.AddrPortFrom(to.addr, 8080)
			ask := func(addr netip.Addr, macs ...model.MAC) bool {
				return sees(t, addr, func() {
					for _, mac := range macs {
						netnstest.Send(t, from.ns, from.iface, netnstest.Frame(target, mac, unix.ETH_P_IP, datagram(netip.AddrPortFrom(addr, 4444), at)))
					}
				}, to.ns)
			}
			name := fmt.Sprintf("host%d to host%d", i+1, j+2)
			if !ask(from.addr, own) {
				t.Errorf("%s: what is honest does not arrive", name)
			}
			if ask(spoofed, own, node) {
				t.Errorf("%s: an address of somebody else's gets through", name)
			}
			if ask(from.addr, node) {
				t.Errorf("%s: a node's MAC address gets through", name)
			}
		}
	}
	// A task that says it has others' addresses is not believed: all that is
	// asked goes where it did.
	broadcast := model.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	from, to := b.evil[1], b.web[1]
	for range 20 {
		netnstest.Send(t, from.ns, from.iface, netnstest.Frame(broadcast, model.MACFromAddr(from.addr), unix.ETH_P_ARP, arp(model.MACFromAddr(from.addr), to.addr)))
		netnstest.Send(t, from.ns, from.iface, netnstest.Frame(broadcast, model.MACFromAddr(to.addr), unix.ETH_P_ARP, arp(model.MACFromAddr(to.addr), to.addr)))
		netnstest.Send(t, from.ns, from.iface, netnstest.Frame(broadcast, model.MACFromAddr(netip.MustParseAddr(b.ingressAddr(t, 1))), unix.ETH_P_ARP, arp(model.MACFromAddr(from.addr), netip.MustParseAddr(b.ingressAddr(t, 1)))))
	}
	b.served(t)
	neighbors := netnstest.Exec(t, b.ingressSandbox(t, 1), "ip", "neigh", "show", to.addr.String())
	if strings.Contains(neighbors, model.MACFromAddr(from.addr).String()) {
		t.Errorf("a node believes a task that has its neighbor's address: %s", neighbors)
	}
}

// served wants both tasks of web to see a client's own address.
func (b *hostileBed) served(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	for _, network := range []string{"tcp", "udp"} {
		for range 4 {
			a, source, err := ask(b.outside, network, b.at(0, 8080))
			if err != nil || netip.MustParseAddrPort(a.Client).Addr().Unmap() != source {
				t.Errorf("%s: the task saw %s, the client is %s: %v", network, a.Client, source, err)
			}
			seen[a.Hostname] = true
		}
	}
	if len(seen) != 2 {
		t.Errorf("%d of 2 tasks answered", len(seen))
	}
}

// marks has containers that may mark packets do so, in all ways that mean
// something somewhere. No namespace heeds another's; a task's own does.
func (b *hostileBed) marks(t *testing.T) {
	for name, ns := range map[string]*kernel.Namespace{"container": b.sandbox(b.nodes[0], "box"), "neighbor": b.outside} {
		for _, addr := range []netip.Addr{netip.MustParseAddr("0.0.0.1"), b.web[1].addr, netip.MustParseAddr(b.ingressAddr(t, 1))} {
			four := addr.As4()
			var source netip.Addr
			var a struct{ Client string }
			err := kernel.Do(ns, func() error {
				c, err := (&net.Dialer{Timeout: 3 * time.Second, Control: func(_, _ string, c syscall.RawConn) (err error) {
					return errors.Join(c.Control(func(fd uintptr) {
						err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, int(binary.NativeEndian.Uint32(four[:])))
					}), err)
				}}).DialContext(t.Context(), "udp", b.at(0, 8080))
				if err != nil {
					return err
				}
				defer func() { _ = c.Close() }()
				_ = c.SetDeadline(time.Now().Add(3 * time.Second))
				source = netip.MustParseAddrPort(c.LocalAddr().String()).Addr()
				if _, err := c.Write([]byte("GET / HTTP/1.0\r\n\r\n")); err != nil {
					return err
				}
				buf := make([]byte, 2048)
				n, err := c.Read(buf)
				if err != nil {
					return err
				}
				return json.Unmarshal(buf[slices.Index(buf, '{'):n], &a)
			})
			if err != nil || netip.MustParseAddrPort(a.Client).Addr().Unmap() != source {
				t.Errorf("%s with mark %v: the task saw %s, the client is %s: %v", name, addr, a.Client, source, err)
			}
		}
	}
}

// client asks a published port by UDP until a certain task answers, and gives
// that flow.
func (b *hostileBed) client(t *testing.T, to string, task *taskPlace) net.Conn {
	t.Helper()
	for range 12 {
		var c net.Conn
		must(t, kernel.Do(b.outside, func() (err error) {
			c, err = (&net.Dialer{}).DialContext(t.Context(), "udp", to)
			return err
		}))
		t.Cleanup(func() { must(t, c.Close()) })
		if strings.HasPrefix(task.id, answer(t, c).Hostname) {
			return c
		}
	}
	t.Fatalf("%s: the task %s is not asked", to, task.id)
	return nil
}

// answer asks once more in a client's flow. Whatever else came before is no
// answer.
func answer(t *testing.T, c net.Conn) (a probe.Answer) {
	t.Helper()
	_, err := c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	must(t, err)
	text := reads(t, c)
	if err := json.Unmarshal([]byte(text), &a); err != nil || a.Client != c.LocalAddr().String() {
		t.Errorf("%s at %s is answered %q: %v", c.LocalAddr(), c.RemoteAddr(), text, err)
	}
	return a
}

// reads gives the next datagram of a client's flow.
func reads(t *testing.T, c net.Conn) string {
	t.Helper()
	buf := make([]byte, 2048)
	must(t, c.SetReadDeadline(time.Now().Add(3*time.Second)))
	n, err := c.Read(buf)
	must(t, err)
	return string(buf[:n])
}

// markedAnswers has a task that may mark packets send them to clients by nodes
// of its choice: its own come by the node the client has asked, and by no other,
// and nobody else's come.
func (b *hostileBed) markedAnswers(t *testing.T) {
	evil, victim := b.evil[1], b.evil[2]
	var nodes [3]netip.Addr
	for i := range nodes {
		nodes[i] = netip.MustParseAddr(b.ingressAddr(t, i))
	}
	for family, to := range []string{b.at(0, 8090), netip.AddrPortFrom(b.addrV6(0), 8090).String()} {
		// The addresses of a task of another service, too.
		forgers := [][2]netip.Addr{{victim.addr, victim.addrV6}, {b.web[1].addr, b.web[1].addrV6}}
		theirs, own := b.client(t, to, victim), b.client(t, to, evil)
		at := netip.MustParseAddrPort(theirs.LocalAddr().String())
		outside := []int{raw(t, b.outside, at.Addr(), unix.IPPROTO_UDP)}
		for _, node := range append(nodes[:], victim.addr) {
			for _, from := range forgers {
				sendMarked(t, evil.ns, node, netnstest.Datagram(netip.AddrPortFrom(from[family], 8090), at, "forged"))
			}
			sendMarked(t, evil.ns, node, netnstest.Datagram(netip.AddrPortFrom([]netip.Addr{evil.addr, evil.addrV6}[family], 8090), at, "not asked"))
		}
		if a := answer(t, theirs); !strings.HasPrefix(victim.id, a.Hostname) {
			t.Errorf("%s: a client's flow goes to the task %s now", to, a.Hostname)
		}
		if got := first(outside, "forged", "not asked", "hostname"); got != "hostname" {
			t.Errorf("%s: %q arrives at the client's host", to, got)
		}
		at = netip.MustParseAddrPort(own.LocalAddr().String())
		from := netip.AddrPortFrom([]netip.Addr{evil.addr, evil.addrV6}[family], 8090)
		for _, node := range []netip.Addr{nodes[1], nodes[2], victim.addr, b.web[1].addr} {
			sendMarked(t, evil.ns, node, netnstest.Datagram(from, at, "astray"))
		}
		sendMarked(t, evil.ns, nodes[0], netnstest.Datagram(from, at, "the right way"))
		if got := reads(t, own); got != "the right way" {
			t.Errorf("%s: the task's client gets %q", to, got)
		}
		if got := first(outside, "astray", "the right way"); got != "the right way" {
			t.Errorf("%s: %q arrives at the client's host", to, got)
		}
	}
	b.served(t)
}

// markedTasks has a task mark all it sends with another node's address. Its
// answers may be lost, and are all that is: other tasks answer their clients, and
// none gets anything by another host than it has asked, or from the ingress
// network's addresses.
func (b *hostileBed) markedTasks(t *testing.T) {
	evil, node := b.evil[1], netip.MustParseAddr(b.ingressAddr(t, 2)).As4()
	netnstest.Exec(t, evil.ns, "nft", fmt.Sprintf(`
		add table inet marks
		add chain inet marks out { type route hook output priority 100; }
		add rule inet marks out meta mark set %d
		add chain inet marks last { type filter hook postrouting priority 300; }
		add rule inet marks last meta mark set %[1]d`, binary.NativeEndian.Uint32(node[:])))
	outside := sniff(t, b.outside)
	var all sync.WaitGroup
	var mu sync.Mutex
	lost, count := map[string]int{}, map[string]int{}
	seen := map[string]bool{}
	for i := range b.nodes {
		for _, to := range []string{b.at(i, 8090), netip.AddrPortFrom(b.addrV6(i), 8090).String()} {
			for _, network := range []string{"tcp", "udp"} {
				for range 3 {
					all.Go(func() {
						a, source, err := ask(b.outside, network, to)
						mu.Lock()
						defer mu.Unlock()
						count[network]++
						if err != nil {
							lost[network]++
							return
						}
						seen[a.Hostname] = true
						if netip.MustParseAddrPort(a.Client).Addr().Unmap() != source {
							t.Errorf("%s %s: the task saw %s, the client is %s", network, to, a.Client, source)
						}
					})
				}
			}
		}
	}
	all.Wait()
	for network, n := range count {
		if lost[network] > n/3 {
			t.Errorf("%s: %d of %d answers are lost", network, lost[network], n)
		}
	}
	for _, p := range []*taskPlace{b.evil[0], b.evil[2]} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(seen)), func(name string) bool { return strings.HasPrefix(p.id, name) }) {
			t.Errorf("the task %s does not answer", p.id)
		}
	}
	b.served(t)
	netnstest.Exec(t, evil.ns, "nft", "delete", "table", "inet", "marks")
	inside := []netip.Prefix{model.AliasesV4(), model.AliasesV6(), netip.PrefixFrom(evil.addr, 24).Masked(), netip.PrefixFrom(evil.addrV6, 96).Masked()}
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(outside, buf, 0)
		if err != nil {
			break
		}
		var from netip.Addr
		switch {
		case n >= 20 && buf[0]>>4 == 4:
			from = netip.AddrFrom4([4]byte(buf[12:]))
		case n >= 40 && buf[0]>>4 == 6:
			from = netip.AddrFrom16([16]byte(buf[8:]))
		}
		if slices.ContainsFunc(inside, func(p netip.Prefix) bool { return p.Contains(from) }) {
			t.Errorf("clients get packets from %s", from)
		}
	}
	if lost, err := unix.GetsockoptTpacketStats(outside, unix.SOL_PACKET, unix.PACKET_STATISTICS); err != nil || lost.Drops > 0 {
		t.Errorf("not all packets have been looked at: %v %v", lost, err)
	}
	for i := range b.nodes {
		b.client(t, b.at(i, 8090), evil)
	}
}

// redirected has a task tell another one that its answers to a client go by
// another neighbor now, in the name of the one they do go by. Clients of that
// task are served as before.
func (b *hostileBed) redirected(t *testing.T) {
	evil, victim := b.evil[1], b.evil[2]
	v6 := b.addrV6(0).As16()
	v6[15] = 200
	client, mac := netip.AddrFrom16(v6), model.MACFromAddr(evil.addr)
	for _, hop := range []string{"fe80::77:6566:74", "fe80::77:6566:75"} {
		for i := range b.nodes {
			node := b.nodePlace(t, i)
			for _, to := range []netip.Addr{victim.addrV6, model.AliasesOf(netip.PrefixFrom(node[0], 24)).V6(node[0], victim.addr)} {
				p := redirect(netip.MustParseAddr(hop), to, netip.MustParseAddr("fe80::66"), client, mac)
				netnstest.Send(t, evil.ns, evil.iface, netnstest.Frame(model.MACFromAddr(victim.addr), mac, unix.ETH_P_IPV6, p))
			}
		}
	}
	for i := range b.nodes {
		seen, to := map[string]bool{}, netip.AddrPortFrom(b.addrV6(i), 8090).String()
		for _, network := range []string{"tcp", "udp"} {
			for range 3 {
				a, _, err := ask(b.outside, network, to)
				if err != nil {
					t.Errorf("%s %s: %v", network, to, err)
				}
				seen[a.Hostname] = true
			}
		}
		if len(seen) != 3 {
			t.Errorf("%s: of 3 tasks answer %v", to, seen)
		}
	}
}

// uplink goes at the link between a host and its ingress sandbox, and at the
// host with addresses that are its own.
func (b *hostileBed) uplink(t *testing.T) {
	in := b.sandbox(b.nodes[1], b.nodes[1].weft(t, "ps", "-q", "--filter", "name=evil."))
	netnstest.Exec(t, b.outside, "ip", "route", "add", "169.254.184.0/30", "via", b.nodes[1].addr())
	netnstest.Exec(t, b.outside, "ip", "-6", "route", "add", "fd77:6566:74::/126", "via", b.addrV6(1).String())
	var all []string
	for _, to := range []string{"169.254.184.2", "169.254.184.1", "fd77:6566:74::2"} {
		for _, port := range []string{"8080", "8090", "80"} {
			all = append(all, net.JoinHostPort(to, port))
		}
	}
	for name, ns := range map[string]*kernel.Namespace{"neighbor": b.outside, "task": in} {
		if got := reached(ns, all...); len(got) > 0 {
			t.Errorf("%s: the mesh answers at %v", name, got)
		}
	}
	link, err := b.hostMAC(1)
	must(t, err)
	bridge := strings.TrimSuffix(strings.Fields(netnstest.Exec(t, b.outside, "ip", "-o", "link", "show", "type", "bridge"))[1], ":")
	at := netip.AddrPortFrom(b.nodes[1].Addr.Addr(), 8090)
	for _, from := range []string{"127.0.0.1", "169.254.184.1", "169.254.184.2"} {
		addr := netip.MustParseAddr(from)
		if sees(t, addr, func() {
			netnstest.Send(t, b.outside, bridge, netnstest.Frame(link, model.MAC{2, 0, 0, 0, 0, 9}, unix.ETH_P_IP, datagram(netip.AddrPortFrom(addr, 4444), at)))
		}, b.ingressSandbox(t, 1)) {
			t.Errorf("what comes from %s gets into the sandbox", from)
		}
	}
	b.served(t)
}

// aliases goes at the straight way of TCP between hosts and tasks.
func (b *hostileBed) aliases(t *testing.T) {
	alias := func(i int, task netip.Addr) netip.Addr {
		node := netip.MustParseAddr(b.ingressAddr(t, i))
		return model.AliasesOf(netip.PrefixFrom(node, 24)).V4(node, task)
	}
	// A task answers from its own aliases, and from nobody else's.
	for i, from := range b.evil {
		for j := range b.hosts {
			answers := func(task netip.Addr) bool {
				a := alias(j, task)
				return sees(t, a, func() {
					netnstest.Send(t, from.ns, from.iface, netnstest.Frame(model.MAC{2, 0x43}, model.MACFromAddr(from.addr), unix.ETH_P_IP, datagram(netip.AddrPortFrom(a, 80), netip.AddrPortFrom(b.nodes[j].Addr.Addr(), 4444))))
				}, b.hosts[j])
			}
			if !answers(from.addr) {
				t.Errorf("host%d to host%d: what is honest does not arrive", i+1, j+1)
			}
			if answers(b.web[1].addr) {
				t.Errorf("host%d to host%d: another task's answer gets through", i+1, j+1)
			}
		}
	}
	// Nobody but the mesh sends there, by a host, by the ingress network, or at all.
	netnstest.Exec(t, b.outside, "ip", "route", "add", "240.0.0.0/4", "via", b.nodes[1].addr())
	netnstest.Exec(t, b.evil[2].ns, "ip", "route", "add", "240.0.0.0/4", "via", b.web[1].addr.String())
	var all []string
	for i := range b.hosts {
		for _, task := range []*taskPlace{b.web[1], b.evil[1]} {
			for _, port := range []uint16{80, 7, 8080} {
				all = append(all, netip.AddrPortFrom(alias(i, task.addr), port).String())
			}
		}
	}
	for name, ns := range map[string]*kernel.Namespace{
		"host": b.hosts[0], "container": b.sandbox(b.nodes[0], "box"), "neighbor": b.outside,
		"task": b.evil[0].ns, "task by the network": b.evil[2].ns,
	} {
		if got := reached(ns, all...); len(got) > 0 {
			t.Errorf("%s: tasks answer at %v", name, got)
		}
	}
	b.served(t)
}

func (b *hostileBed) hostMAC(i int) (mac model.MAC, err error) {
	err = kernel.Do(b.hosts[i], func() error {
		l, err := net.InterfaceByName("eth0")
		if err == nil {
			mac = model.MAC(l.HardwareAddr)
		}
		return err
	})
	return mac, err
}

// sctp carries an association's first two packets, which is as far as one gets
// without sockets for it.
func (b *hostileBed) sctp(t *testing.T) {
	client := netip.AddrPortFrom(netip.MustParseAddr(strings.TrimSuffix(b.nodes[0].addr(), ".1")+".200"), 5555)
	at := netip.AddrPortFrom(b.nodes[0].Addr.Addr(), 9090)
	out := raw(t, b.outside, client.Addr(), unix.IPPROTO_SCTP)
	tasks := []int{raw(t, b.web[1].ns, b.web[1].addr, unix.IPPROTO_SCTP), raw(t, b.web[2].ns, b.web[2].addr, unix.IPPROTO_SCTP)}
	must(t, unix.Sendto(out, chunk(5555, 9090, 0, 1), 0, &unix.SockaddrInet4{Addr: at.Addr().As4()}))
	var got []byte
	var task int
	await(t, 3*time.Second, func() (bool, string) {
		buf := make([]byte, 2048)
		for _, fd := range tasks {
			if n, _, err := unix.Recvfrom(fd, buf, 0); err == nil {
				got, task = buf[:n], fd
			}
		}
		return got != nil, "no task has got the first packet"
	})
	from := netip.AddrPortFrom(netip.AddrFrom4([4]byte(got[12:16])), binary.BigEndian.Uint16(got[20:]))
	if port := binary.BigEndian.Uint16(got[22:]); from != client || port != 7 {
		t.Errorf("the task has a packet from %v to port %d, want %v and 7", from, port, client)
	}
	must(t, unix.Sendto(task, chunk(7, 5555, 0x01020304, 2), 0, &unix.SockaddrInet4{Addr: client.Addr().As4()}))
	await(t, 3*time.Second, func() (bool, string) {
		buf := make([]byte, 2048)
		n, _, err := unix.Recvfrom(out, buf, 0)
		ok := err == nil && n > 24 && netip.AddrFrom4([4]byte(buf[12:16])) == at.Addr() && binary.BigEndian.Uint16(buf[20:]) == at.Port()
		return ok, fmt.Sprintf("no answer from %v: %v %x", at, err, buf[:max(n, 0)])
	})
}
