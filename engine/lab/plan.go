package lab

import (
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"weft/engine/fault"
)

// Config is what Up needs. Zero values mean the defaults.
type Config struct {
	StateDir string
	Name     string
	Hosts    int

	// Subnets are the underlay's prefixes, at most one of each family. A
	// missing IPv4 one is DefaultSubnet, a missing IPv6 one is unique local
	// (RFC 4193) and follows from the name.
	Subnets []netip.Prefix
	MTU     int // of the underlay, bytes

	Boot func(Host) Boot // nil: hosts without a command
	Self string          // path of a binary whose main knows HostName

	// ReadyTimeout is how long one host may take to be up; 0: a minute.
	ReadyTimeout time.Duration
}

const (
	maxHosts = 250
	// minMTU is the least IPv6 works with (RFC 8200 section 5), maxMTU what
	// veth takes (ETH_MAX_MTU in linux/if_ether.h).
	minMTU = 1280
	maxMTU = 65535
)

var (
	labName  = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,30}$`)
	hostName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,13}$`) // also a link's name: 15 bytes at most
)

// check fills the defaults in and refuses what can't work before anything is
// made.
func (c *Config) check() error {
	if c.Name == "" {
		c.Name = DefaultName
	}
	if c.StateDir == "" {
		c.StateDir = DefaultState
	}
	if c.Hosts == 0 {
		c.Hosts = DefaultHosts
	}
	if c.MTU == 0 {
		c.MTU = DefaultMTU
	}
	if c.ReadyTimeout == 0 {
		c.ReadyTimeout = time.Minute
	}
	if c.Self == "" {
		return fault.Invalid("lab: Self is required")
	}
	if c.Hosts < 1 || c.Hosts > maxHosts {
		return fault.Invalid("a lab has 1 to %d hosts, not %d", maxHosts, c.Hosts)
	}
	if c.MTU < minMTU || c.MTU > maxMTU {
		return fault.Invalid("MTU %d: an underlay's is between %d (the least IPv6 works with) and %d", c.MTU, minMTU, maxMTU)
	}
	_, err := checkPlace(c.StateDir, c.Name)
	return err
}

// checkPlace makes StateDir absolute and judges it together with the name.
func checkPlace(stateDir, name string) (dir string, err error) {
	if !labName.MatchString(name) {
		return "", fault.Invalid("invalid lab name %q: up to 31 lower-case letters, digits, - and _, the first a letter or digit", name)
	}
	abs, err := filepath.Abs(stateDir)
	if err != nil {
		return "", fault.Invalid("state directory %q: %w", stateDir, err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real // one lab, one path: hosts are found by it
	}
	for _, own := range []string{"/run", "/proc", "/sys"} {
		if abs == own || strings.HasPrefix(abs, own+"/") {
			return "", fault.Invalid("state directory %s: every host has a %s of its own and would not see it; choose another --state-dir", abs, own)
		}
	}
	dir = filepath.Join(abs, name)
	// sun_path has 108 bytes with the final zero (linux/un.h).
	longest := filepath.Join(dir, strings.Repeat("h", 14), "run", "engine.sock")
	if len(longest) > 107 {
		return "", fault.Invalid("state directory %s is too long: sockets below it could not be reached; choose a shorter --state-dir or --name", abs)
	}
	return dir, nil
}

// RequireRoot is nil for root, and otherwise an error that names the fix.
func RequireRoot() error {
	if os.Geteuid() == 0 {
		return nil
	}
	return fault.Forbidden("a lab is made of network namespaces, which takes root: run this with sudo")
}

// subnets gives the IPv4 and the IPv6 prefix of the underlay.
func subnets(name string, given []netip.Prefix) (v4, v6 netip.Prefix, err error) {
	for _, p := range given {
		family := &v6
		if p.Addr().Is4() {
			family = &v4
		}
		switch {
		case p != p.Masked():
			return v4, v6, fault.Invalid("subnet %s has bits set beyond its prefix: did you mean %s?", p, p.Masked())
		case p.Addr().Is4In6():
			return v4, v6, fault.Invalid("subnet %s: write it as an IPv4 prefix", p)
		case p.Addr().IsMulticast() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast():
			return v4, v6, fault.Invalid("subnet %s can't be given to hosts: choose a private one, as %s", p, DefaultSubnet)
		case family.IsValid():
			return v4, v6, fault.Invalid("subnets %s and %s: an underlay has one prefix of each family", *family, p)
		}
		*family = p
	}
	if !v4.IsValid() {
		v4 = netip.MustParsePrefix(DefaultSubnet)
	}
	if !v6.IsValid() {
		v6 = localPrefix(name)
	}
	return v4, v6, nil
}

// localPrefix gives a unique local /64 that follows from the name.
func localPrefix(name string) netip.Prefix {
	sum := sha256.Sum256([]byte("weft lab " + name))
	addr := [16]byte{0: 0xfd}
	copy(addr[1:6], sum[:]) // the 40 random bits of RFC 4193 section 3.1
	return netip.PrefixFrom(netip.AddrFrom16(addr), 64)
}

// nth gives the n-th address of a prefix, with the prefix's length.
func nth(p netip.Prefix, n int) (netip.Prefix, error) {
	addr := p.Addr()
	for range n {
		addr = addr.Next()
	}
	last := p.Addr().Is4() && !p.Contains(addr.Next()) // IPv4's broadcast address
	if !p.Contains(addr) || last {
		return netip.Prefix{}, fault.Invalid("subnet %s has no address for host number %d: choose a larger --subnet", p, n)
	}
	return netip.PrefixFrom(addr, p.Bits()), nil
}

// hardwareAddr gives a host's MAC address. It follows from lab and host, so
// that a host that boots again is the one its neighbors know.
func hardwareAddr(lab, host string) net.HardwareAddr {
	sum := sha256.Sum256([]byte("weft lab " + lab + " host " + host))
	return append(net.HardwareAddr{0x02}, sum[:5]...) // 02: locally administered, unicast
}

// hostLabel is the name of the n-th host, counted from 1.
func hostLabel(n int) string { return fmt.Sprintf("host%d", n) }
