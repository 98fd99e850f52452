package netnstest

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
)

// checksum is the Internet's (RFC 1071).
func checksum(p []byte) uint16 {
	sum := uint32(0)
	for i, c := range p {
		sum += uint32(c) << (8 * (1 - i%2))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// Datagram is a UDP packet (RFC 768), over IPv4 without a checksum.
func Datagram(from, to netip.AddrPort, text string) []byte {
	u := binary.BigEndian.AppendUint16(nil, from.Port())
	u = binary.BigEndian.AppendUint16(u, to.Port())
	u = binary.BigEndian.AppendUint16(u, uint16(8+len(text)))
	u = append(append(u, 0, 0), text...)
	if from.Addr().Is6() {
		return PacketV6(from.Addr(), to.Addr(), unix.IPPROTO_UDP, u)
	}
	p := []byte{0x45, 8: 64, 9: unix.IPPROTO_UDP, 19: 0} // RFC 791
	binary.BigEndian.PutUint16(p[2:], uint16(len(p)+len(u)))
	copy(p[12:], from.Addr().AsSlice())
	copy(p[16:], to.Addr().AsSlice())
	binary.BigEndian.PutUint16(p[10:], checksum(p))
	return append(p, u...)
}

// PacketV6 is an IPv6 packet (RFC 8200) of ICMPv6 or UDP, whose checksum it
// writes where the payload has zeros. In front are extension headers of kinds,
// eight bytes of padding each.
func PacketV6(from, to netip.Addr, proto byte, payload []byte, extensions ...byte) []byte {
	sum := map[byte]int{unix.IPPROTO_ICMPV6: 2, unix.IPPROTO_UDP: 6}[proto]
	p := []byte{0x60, 7: 255}
	p = append(append(p, from.AsSlice()...), to.AsSlice()...)
	pseudo := binary.BigEndian.AppendUint32(slices.Clone(p[8:]), uint32(len(payload)))
	binary.BigEndian.PutUint16(payload[sum:], checksum(slices.Concat(pseudo, []byte{0, 0, 0, proto}, payload)))
	follows := append(slices.Clone(extensions), proto)
	p[6] = follows[0]
	for _, kind := range follows[1:] {
		p = append(p, kind, 0, 1, 4, 0, 0, 0, 0) // PadN
	}
	p = append(p, payload...)
	binary.BigEndian.PutUint16(p[4:], uint16(len(p)-40))
	return p
}

// Frame is an Ethernet frame.
func Frame(to, from [6]byte, etherType uint16, payload []byte) []byte {
	return append(binary.BigEndian.AppendUint16(slices.Concat(to[:], from[:]), etherType), payload...)
}

// Send puts a frame on the wire of an interface in a namespace.
func Send(tb testing.TB, ns *kernel.Namespace, iface string, frame []byte) {
	tb.Helper()
	err := kernel.Do(ns, func() error {
		l, err := net.InterfaceByName(iface)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return errors.Join(unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.Index}), unix.Close(fd))
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// PacketSocket opens a socket that gets all packets of an EtherType that come to
// a namespace, also those that go no further. Reading it does not wait. Who asks
// for it closes it.
func PacketSocket(tb testing.TB, ns *kernel.Namespace, etherType uint16) (fd int) {
	tb.Helper()
	kind := binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, etherType)) // packet(7)
	err := kernel.Do(ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(kind))
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return fd
}
