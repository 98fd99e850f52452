package control

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"weft/engine/fault"
)

// defaultPort is SwarmKit's, and 2377/tcp in Docker's documentation.
const defaultPort = "2377"

// The range of data path ports is dockerd's: IANA's registered ports.
const (
	defaultDataPathPort = 4789
	minDataPathPort     = 1024
	maxDataPathPort     = 49151
)

var (
	errNoLink     = errors.New("no such interface")
	errNotAnInput = errors.New("must specify a valid IP address or interface name")
	errNoAddr     = fault.Invalid("could not find the system's IP address")
)

// withPort completes an address of the API (port optional, tcp:// allowed).
func withPort(addr string) (string, error) {
	addr = strings.TrimPrefix(addr, "tcp://")
	if addr == "" {
		return "", errors.New("invalid empty address")
	}
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr, nil
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), defaultPort), nil
}

// resolveListen turns HOST:PORT, where HOST may be an interface, into an
// address to bind to.
func resolveListen(addr string) (netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, fault.Invalid("could not parse listen address %s", addr)
	}
	ip, err := inputAddr(host, true)
	if errors.Is(err, errNotAnInput) {
		return netip.AddrPort{}, fault.Invalid("listen address must be an IP address or network interface (with optional port number)")
	}
	if err != nil {
		return netip.AddrPort{}, err
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil || p == 0 {
		return netip.AddrPort{}, fault.Invalid("could not parse listen address %s: the port must be between 1 and 65535", addr)
	}
	return netip.AddrPortFrom(ip, uint16(p)), nil
}

// resolveAdvertise finds the address other nodes reach this one at: the one
// asked for, else the configured one, else the system's only one.
func (n *Node) resolveAdvertise(asked string, listenPort uint16) (netip.AddrPort, error) {
	port := listenPort
	what := "advertise"
	switch {
	case asked == "" && n.cfg.DefaultAdvertiseAddr == "":
		ip, err := n.systemAddr()
		return netip.AddrPortFrom(ip, port), err
	case asked == "":
		asked, what = n.cfg.DefaultAdvertiseAddr, "default advertise"
	default:
		if host, p, err := net.SplitHostPort(asked); err == nil {
			v, err := strconv.ParseUint(p, 10, 16)
			if err != nil || v == 0 {
				return netip.AddrPort{}, fault.Invalid("advertise address %s: the port must be between 1 and 65535", asked)
			}
			asked, port = host, uint16(v)
		}
	}
	ip, err := inputAddr(asked, false)
	if errors.Is(err, errNotAnInput) {
		suffix := "(with optional port number)"
		if what != "advertise" {
			suffix = "(without a port number)"
		}
		return netip.AddrPort{}, fault.Invalid("%s address must be a non-zero IP address or network interface %s", what, suffix)
	}
	return netip.AddrPortFrom(ip, port), err
}

// resolveDataPath is "" when the data path uses the advertise address.
func (n *Node) resolveDataPath(asked string) (string, error) {
	if asked == "" {
		asked = n.cfg.DefaultDataPathAddr
	}
	if asked == "" {
		return "", nil
	}
	ip, err := inputAddr(asked, false)
	if errors.Is(err, errNotAnInput) {
		return "", fault.Invalid("data path address must be a non-zero IP address or network interface (without a port number)")
	}
	if err != nil {
		return "", err
	}
	return ip.String(), nil
}

func dataPathPort(asked uint32) (uint32, error) {
	if asked == 0 {
		return defaultDataPathPort, nil
	}
	if asked < minDataPathPort || asked > maxDataPathPort {
		return 0, fault.Invalid("Datapath port number is not in valid range (1024-49151) : %d", asked)
	}
	return asked, nil
}

// inputAddr reads an interface name or an address.
func inputAddr(s string, unspecifiedToo bool) (netip.Addr, error) {
	ip, err := linkAddr(s)
	if err == nil || !errors.Is(err, errNoLink) {
		return ip, err
	}
	ip, err = netip.ParseAddr(s)
	if err != nil || (ip.IsUnspecified() && !unspecifiedToo) {
		return netip.Addr{}, errNotAnInput
	}
	return ip.Unmap(), nil
}

// linkAddr gives the only address of an interface, IPv4 before IPv6.
func linkAddr(name string) (netip.Addr, error) {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return netip.Addr{}, errNoLink
	}
	addrs, err := addrsOf(*link)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("read addresses of interface %s: %w", name, err)
	}
	var v4, v6 netip.Addr
	for _, a := range addrs {
		slot, family := &v4, "IPv4"
		if a.Is6() {
			slot, family = &v6, "IPv6"
		}
		if slot.IsValid() {
			return netip.Addr{}, fault.Invalid("interface %s has more than one %s address (%s and %s)", name, family, *slot, a)
		}
		*slot = a
	}
	switch {
	case v4.IsValid():
		return v4, nil
	case v6.IsValid():
		return v6, nil
	}
	return netip.Addr{}, fault.Invalid("interface %s has no usable IPv4 or IPv6 address", name)
}

func addrsOf(link net.Interface) ([]netip.Addr, error) {
	raw, err := link.Addrs()
	if err != nil {
		return nil, err
	}
	var out []netip.Addr
	for _, r := range raw {
		if p, ok := r.(*net.IPNet); ok {
			if a, ok := netip.AddrFromSlice(p.IP); ok {
				out = append(out, a.Unmap())
			}
		}
	}
	return out, nil
}

// isLocal reports whether a is an address of this machine.
func isLocal(a netip.Addr) bool {
	links, err := net.Interfaces()
	if err != nil {
		return false
	}
	for _, l := range links {
		addrs, err := addrsOf(l)
		if err != nil {
			continue
		}
		for _, have := range addrs {
			if have == a {
				return true
			}
		}
	}
	return a.IsLoopback()
}

// checkListen fails when addr can't be bound, before anything is made that
// would depend on it.
func checkListen(addr netip.AddrPort) error {
	l, err := net.Listen("tcp", addr.String()) //nolint:noctx // binds at once or fails at once
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fault.Unavailable("listen address %s is in use (%d/tcp): stop the program that holds it, or choose another address or port with --listen-addr", addr, addr.Port())
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fault.Invalid("listen address %s is not an address of this machine: choose one of its own with --listen-addr", addr)
	case err != nil:
		return fault.Unavailable("listen at %s: %w", addr, err)
	}
	return l.Close()
}
