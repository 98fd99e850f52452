package cluster

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"weft/wizard/flows/ingress"
)

// routes gives what this machine's routes take, default routes left out.
func routes() []ingress.Subnet {
	var list []ingress.Subnet
	for path, parse := range map[string]func(io.Reader) []route{"/proc/net/route": parseRoutes4, "/proc/net/ipv6_route": parseRoutes6} {
		f, err := os.Open(path) //nolint:gosec // one of the two
		if err != nil {
			continue // a kernel without this family
		}
		for _, r := range parse(f) {
			a := r.to.Addr()
			if r.to.Bits() > 0 && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && r.link != "lo" {
				list = append(list, ingress.Subnet{Prefix: r.to.String(), By: "route by " + r.link + " on this machine"})
			}
		}
		_ = f.Close()
	}
	return list
}

// route is a prefix and the interface it leads to.
type route struct {
	to   netip.Prefix
	link string
}

// parseRoutes4 reads /proc/net/route (net/ipv4/fib_trie.c, fib_route_seq_show):
// after a heading, lines of interface, destination, gateway, flags, three
// counts and mask, the addresses as native words in hexadecimal.
func parseRoutes4(in io.Reader) []route {
	var list []route
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 8 {
			continue
		}
		to, errTo := hex.DecodeString(f[1])
		mask, errMask := hex.DecodeString(f[7])
		if errTo != nil || errMask != nil || len(to) != 4 || len(mask) != 4 {
			continue // the heading
		}
		var a, m [4]byte
		binary.NativeEndian.PutUint32(a[:], binary.BigEndian.Uint32(to))
		binary.NativeEndian.PutUint32(m[:], binary.BigEndian.Uint32(mask))
		bits := 0
		for n := binary.BigEndian.Uint32(m[:]); n&(1<<31) != 0; n <<= 1 {
			bits++
		}
		list = append(list, route{netip.PrefixFrom(netip.AddrFrom4(a), bits).Masked(), f[0]})
	}
	return list
}

// parseRoutes6 reads /proc/net/ipv6_route (net/ipv6/route.c, rt6_native_seq_show):
// lines of destination, its length, source, its length, next hop, four numbers
// and interface, all in hexadecimal.
func parseRoutes6(in io.Reader) []route {
	var list []route
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 10 {
			continue
		}
		to, errTo := hex.DecodeString(f[0])
		bits, errBits := strconv.ParseUint(f[1], 16, 8)
		a, is := netip.AddrFromSlice(to)
		if errTo != nil || errBits != nil || !is || !a.Is6() || bits > 128 {
			continue
		}
		list = append(list, route{netip.PrefixFrom(a, int(bits)).Masked(), f[9]})
	}
	return list
}
