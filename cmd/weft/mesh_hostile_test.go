package main_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
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
)

// hostileBed has "web" on the last two hosts and "evil", a published service
// too, on all.
type hostileBed struct {
	*meshBed
	evil, web [3]*taskPlace // by host
}

// taskPlace is a task on the ingress network.
type taskPlace struct {
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
	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "ov")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "web", "--mode", "global", "--network", "ov", "--constraint", "node.hostname!=host1",
		"--label", "weft.publish.bind="+b.nodes[0].addr(), "--publish", "8080:80", "--publish", "8080:80/udp", "--publish", "9090:7/sctp", "weft/probe")
	one.weft(t, "service", "create", "-q", "--detach", "--name", "evil", "--mode", "global", "--publish", "8090:80", "weft/probe")
	one.weft(t, "run", "-d", "--name", "box", "--network", "ov", "weft/probe")
	for i := range b.nodes {
		b.answers(t, "tcp", b.at(i, 8090))
		b.evil[i] = b.attached(t, i, "evil")
		if i > 0 {
			b.web[i] = b.attached(t, i, "web")
		}
	}
	b.answers(t, "tcp", b.at(0, 8080))
	t.Run("unpublished", b.unpublished)
	t.Run("routers", b.routers)
	t.Run("forged", b.forged)
	t.Run("marks", b.marks)
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
	a := &taskPlace{ns: b.sandbox(n, id), addr: netip.MustParseAddr(n.weft(t, "inspect", "--format", "{{.NetworkSettings.Networks.ingress.IPAddress}}", id))}
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

// datagram is a UDP packet over IPv4 that asks the probe.
func datagram(from, to netip.AddrPort) []byte {
	p := make([]byte, 28, 64)
	p = append(p, "GET / HTTP/1.0\r\n\r\n"...)
	ipHeader(p, unix.IPPROTO_UDP, from.Addr(), to.Addr())
	binary.BigEndian.PutUint16(p[20:], from.Port())
	binary.BigEndian.PutUint16(p[22:], to.Port())
	binary.BigEndian.PutUint16(p[24:], uint16(len(p)-20)) // no checksum, as RFC 768 allows
	return p
}

func ipHeader(p []byte, proto byte, from, to netip.Addr) {
	p[0], p[8], p[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
	copy(p[12:], from.AsSlice())
	copy(p[16:], to.AsSlice())
	sum := uint32(0)
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(p[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(p[10:], ^uint16(sum))
}

// arp is an announcement of an address.
func arp(mac model.MAC, addr netip.Addr) []byte {
	p := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	p = append(append(p, mac[:]...), addr.AsSlice()...)
	return append(append(p, 0, 0, 0, 0, 0, 0), addr.AsSlice()...)
}

// send puts a frame on the wire of a namespace's interface.
func send(t *testing.T, ns *kernel.Namespace, iface string, to, from model.MAC, etherType uint16, payload []byte) {
	t.Helper()
	must(t, kernel.Do(ns, func() error {
		l, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		frame := append(append([]byte{}, to[:]...), from[:]...)
		frame = append(binary.BigEndian.AppendUint16(frame, etherType), payload...)
		return errors.Join(unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.Index}), unix.Close(fd))
	}))
}

// sees reports whether one of the namespaces gets an IPv4 packet from an address
// while do runs, or shortly after.
func sees(t *testing.T, from netip.Addr, do func(), where ...*kernel.Namespace) bool {
	t.Helper()
	var fds []int
	for _, ns := range where {
		must(t, kernel.Do(ns, func() error {
			fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})))
			fds = append(fds, fd)
			return err
		}))
	}
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	do()
	buf := make([]byte, 2048)
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		var poll []unix.PollFd
		for _, fd := range fds {
			poll = append(poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		_, _ = unix.Poll(poll, 50)
		for _, fd := range fds {
			for {
				n, at, err := unix.Recvfrom(fd, buf, 0)
				if err != nil {
					break
				}
				if ll, ok := at.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
					continue
				}
				if n >= 20 && netip.AddrFrom4([4]byte(buf[12:16])) == from {
					return true
				}
			}
		}
	}
	return false
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
						send(t, from.ns, from.iface, target, mac, unix.ETH_P_IP, datagram(netip.AddrPortFrom(addr, 4444), at))
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
		send(t, from.ns, from.iface, broadcast, model.MACFromAddr(from.addr), unix.ETH_P_ARP, arp(model.MACFromAddr(from.addr), to.addr))
		send(t, from.ns, from.iface, broadcast, model.MACFromAddr(to.addr), unix.ETH_P_ARP, arp(model.MACFromAddr(to.addr), to.addr))
		send(t, from.ns, from.iface, broadcast, model.MACFromAddr(netip.MustParseAddr(b.ingressAddr(t, 1))), unix.ETH_P_ARP, arp(model.MACFromAddr(from.addr), netip.MustParseAddr(b.ingressAddr(t, 1))))
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
// something somewhere.
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
			send(t, b.outside, bridge, link, model.MAC{2, 0, 0, 0, 0, 9}, unix.ETH_P_IP, datagram(netip.AddrPortFrom(addr, 4444), at))
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
					send(t, from.ns, from.iface, model.MAC{2, 0x43}, model.MACFromAddr(from.addr), unix.ETH_P_IP, datagram(netip.AddrPortFrom(a, 80), netip.AddrPortFrom(b.nodes[j].Addr.Addr(), 4444)))
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
	out := rawSCTP(t, b.outside, client.Addr())
	tasks := []int{rawSCTP(t, b.web[1].ns, b.web[1].addr), rawSCTP(t, b.web[2].ns, b.web[2].addr)}
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

// rawSCTP opens a socket that gets all of that protocol at an address.
func rawSCTP(t *testing.T, ns *kernel.Namespace, at netip.Addr) (fd int) {
	t.Helper()
	must(t, kernel.Do(ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_SCTP)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrInet4{Addr: at.As4()})
	}))
	t.Cleanup(func() { must(t, os.NewSyscallError("close", unix.Close(fd))) })
	return fd
}

// chunk is a packet with an INIT (1) or INIT ACK (2) chunk (RFC 9260, section
// 3.3): both have tag 0x01020304 initiated.
func chunk(from, to uint16, tag uint32, kind byte) []byte {
	p := make([]byte, 32)
	binary.BigEndian.PutUint16(p, from)
	binary.BigEndian.PutUint16(p[2:], to)
	binary.BigEndian.PutUint32(p[4:], tag)
	p[12], p[15] = kind, 20
	binary.BigEndian.PutUint32(p[16:], 0x01020304)
	binary.BigEndian.PutUint32(p[20:], 65536)
	p[25], p[27] = 1, 1
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return p
}
