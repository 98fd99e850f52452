package main_test

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// says sends datagrams from a namespace, all from one port.
func says(t *testing.T, from *kernel.Namespace, text string, to ...netip.AddrPort) {
	t.Helper()
	must(t, kernel.Do(from, func() error {
		c, err := net.ListenPacket("udp", "")
		if err != nil {
			return err
		}
		var errs []error
		for _, at := range to {
			_, err := c.WriteTo([]byte(text), net.UDPAddrFromAddrPort(at))
			errs = append(errs, err)
		}
		return errors.Join(append(errs, c.Close())...)
	}))
}

// sniff opens a socket that has all packets that come to a namespace, also those
// that go no further.
func sniff(t *testing.T, ns *kernel.Namespace) (fd int) {
	t.Helper()
	fd = netnstest.PacketSocket(t, ns, unix.ETH_P_ALL)
	t.Cleanup(func() { must(t, os.NewSyscallError("close", unix.Close(fd))) })
	must(t, os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)))
	return fd
}

// receive gives use what comes to sockets until a moment, or until it has enough
// of a round.
func receive(fds []int, end time.Time, use func(packet []byte, from unix.Sockaddr), enough func() bool) {
	buf := make([]byte, 1<<16)
	for time.Now().Before(end) && !enough() {
		var poll []unix.PollFd
		for _, fd := range fds {
			poll = append(poll, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		}
		_, _ = unix.Poll(poll, 50)
		for _, fd := range fds {
			for {
				n, from, err := unix.Recvfrom(fd, buf, 0)
				if err != nil {
					break
				}
				use(buf[:n], from)
			}
		}
	}
}

// first gives the first text, of some, that is in what has come to the sockets
// as soon as one is; empty: none comes.
func first(fds []int, texts ...string) string {
	found := len(texts)
	receive(fds, time.Now().Add(3*time.Second), func(packet []byte, _ unix.Sockaddr) {
		if i := slices.IndexFunc(texts, func(text string) bool { return strings.Contains(string(packet), text) }); i >= 0 {
			found = min(found, i)
		}
	}, func() bool { return found < len(texts) })
	if found == len(texts) {
		return ""
	}
	return texts[found]
}

// sees reports whether one of the namespaces gets an IPv4 packet from an address
// while do runs, or shortly after.
func sees(t *testing.T, from netip.Addr, do func(), where ...*kernel.Namespace) bool {
	t.Helper()
	var fds []int
	for _, ns := range where {
		fds = append(fds, netnstest.PacketSocket(t, ns, unix.ETH_P_IP))
	}
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	do()
	seen := false
	receive(fds, time.Now().Add(300*time.Millisecond), func(packet []byte, at unix.Sockaddr) {
		ll, ok := at.(*unix.SockaddrLinklayer)
		outgoing := ok && ll.Pkttype == unix.PACKET_OUTGOING
		seen = seen || (!outgoing && len(packet) >= 20 && netip.AddrFrom4([4]byte(packet[12:16])) == from)
	}, func() bool { return seen })
	return seen
}

// datagram is a UDP packet that asks the probe.
func datagram(from, to netip.AddrPort) []byte {
	return netnstest.Datagram(from, to, "GET / HTTP/1.0\r\n\r\n")
}

// arp is an announcement of an address.
func arp(mac model.MAC, addr netip.Addr) []byte {
	p := []byte{0, 1, 8, 0, 6, 4, 0, 1}
	p = append(append(p, mac[:]...), addr.AsSlice()...)
	return append(append(p, 0, 0, 0, 0, 0, 0), addr.AsSlice()...)
}

// sendMarked sends an IP packet from a namespace by its routing, with an address
// as its mark.
func sendMarked(t *testing.T, ns *kernel.Namespace, mark netip.Addr, packet []byte) {
	t.Helper()
	family, to := unix.AF_INET, unix.Sockaddr(nil)
	if packet[0]>>4 == 4 {
		to = &unix.SockaddrInet4{Addr: [4]byte(packet[16:])}
	} else {
		family, to = unix.AF_INET6, &unix.SockaddrInet6{Addr: [16]byte(packet[24:])}
	}
	must(t, kernel.Do(ns, func() error {
		fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		if err != nil {
			return err
		}
		four := mark.As4()
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(binary.NativeEndian.Uint32(four[:]))), unix.Sendto(fd, packet, 0, to), unix.Close(fd))
	}))
}

// redirect is a packet that says that target is a better way to another address
// (RFC 4861, section 4.5).
func redirect(from, to, target, dest netip.Addr, mac model.MAC) []byte {
	m := append([]byte{137, 0, 0, 0, 0, 0, 0, 0}, target.AsSlice()...)
	m = append(append(append(m, dest.AsSlice()...), 2, 1), mac[:]...)
	return netnstest.PacketV6(from, to, unix.IPPROTO_ICMPV6, m)
}

// raw opens a socket that gets all of a protocol that comes through to an
// address.
func raw(t *testing.T, ns *kernel.Namespace, at netip.Addr, proto int) (fd int) {
	t.Helper()
	family, to := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet6{Addr: at.As16()})
	if at.Is4() {
		to = &unix.SockaddrInet4{Addr: at.As4()}
	} else {
		family = unix.AF_INET6
	}
	must(t, kernel.Do(ns, func() (err error) {
		fd, err = unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, proto)
		if err != nil {
			return err
		}
		return unix.Bind(fd, to)
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
