package engine

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft/engine/containerd"
	"weft/engine/fault"
)

// Where an engine keeps its things unless told otherwise.
const (
	DefaultDataDir = "/var/lib/weft"
	DefaultRunDir  = "/run/weft"
	SocketName     = "engine.sock"
	DefaultBridge  = "weft0"
)

// Config is what New needs. The zero values of optional fields are named.
type Config struct {
	DataDir string // state that survives a reboot
	RunDir  string // sockets, namespaces and the PID file; cleared by a reboot

	Listen       []string // unix:///path; none: RunDir/engine.sock
	DataPathAddr string   // address or interface for VXLAN; empty: the advertise address
	DataPathPort uint32   // UDP port of VXLAN for a swarm initialized here; 0: 4789

	DefaultAddrPool []netip.Prefix // of a swarm initialized here; none: Docker's
	SubnetSize      uint32         // prefix length cut from the pools; 0: 24

	Runtime    string       // RuntimeAuto, RuntimeEmbedded or RuntimeContainerd; empty: RuntimeAuto
	Containerd string       // path of containerd's socket; empty: the distributions'
	Bridge     string       // device of the default bridge network; empty: weft0
	BridgeIP   netip.Prefix // its address and subnet; zero: one that is free

	CgroupParent string // of the containers' cgroups; empty: /weft

	// AdvertiseAddr is the address or interface to advertise in a swarm
	// initialized here without one; empty: the machine's only one.
	AdvertiseAddr string
	// OpenPort opens a port that is to be reached from outside where that is
	// another network namespace than the engine's; network and address are as in
	// package net. Nil: it is the engine's own.
	OpenPort func(ctx context.Context, network, address string) (*os.File, error)
	Pid      int // to signal in order to stop the engine; 0: this process's

	Hostname string // empty: the machine's
	Self     string // path of the weft binary, run again for shims and probes
	Version  string
	Log      *slog.Logger
	Now      func() time.Time
}

// check fills defaults in and makes sure that a wrong value is named with its
// flag before anything is made.
func (c *Config) check() error {
	for _, d := range []struct {
		flag string
		dir  *string
		def  string
	}{{"--data-dir", &c.DataDir, DefaultDataDir}, {"--run-dir", &c.RunDir, DefaultRunDir}} {
		if *d.dir == "" {
			*d.dir = d.def
		}
		abs, err := filepath.Abs(*d.dir)
		if err != nil {
			return fault.Invalid("%s %q: %w", d.flag, *d.dir, err)
		}
		*d.dir = abs
	}
	return c.checkValues()
}

func (c *Config) checkValues() error {
	if len(c.Listen) == 0 {
		c.Listen = []string{"unix://" + filepath.Join(c.RunDir, SocketName)}
	}
	for _, l := range c.Listen {
		if _, err := socketPath(l); err != nil {
			return err
		}
	}
	if p := c.DataPathPort; p != 0 && (p < 1024 || p > 49151) {
		return fault.Invalid("--data-path-port %d: must be between 1024 and 49151", p)
	}
	if err := c.checkRuntime(); err != nil {
		return err
	}
	for _, p := range c.DefaultAddrPool {
		if !p.Addr().Is4() {
			return fault.Invalid("--default-addr-pool %s: pools are IPv4; IPv6 subnets are given per network with `network create --ipv6 --subnet`", p)
		}
		if c.SubnetSize != 0 && int(c.SubnetSize) < p.Bits() {
			return fault.Invalid("--default-addr-pool-mask-length %d is larger than the pool %s", c.SubnetSize, p)
		}
	}
	if err := c.checkHost(); err != nil {
		return err
	}
	if c.Hostname == "" {
		h, err := os.Hostname()
		if err != nil {
			return fault.Internal("read the host's name: %w", err)
		}
		c.Hostname = h
	}
	return nil
}

func (c *Config) checkRuntime() error {
	c.Runtime = cmp.Or(c.Runtime, RuntimeAuto)
	if !slices.Contains([]string{RuntimeAuto, RuntimeEmbedded, RuntimeContainerd}, c.Runtime) {
		return fault.Invalid("--runtime %q: must be %s, %s or %s", c.Runtime, RuntimeAuto, RuntimeEmbedded, RuntimeContainerd)
	}
	c.Containerd = strings.TrimPrefix(cmp.Or(c.Containerd, containerd.DefaultAddress), "unix://")
	if !filepath.IsAbs(c.Containerd) {
		return fault.Invalid("--containerd %q: must be the absolute path of containerd's socket, as in %s", c.Containerd, containerd.DefaultAddress)
	}
	return nil
}

// checkHost looks at what the engine makes of this host for its containers.
func (c *Config) checkHost() error {
	if p := c.CgroupParent; p != "" && (!path.IsAbs(p) || path.Clean(p) != p || strings.ContainsAny(p, "*?[\\")) {
		return fault.Invalid("--cgroup-parent %q: must be an absolute path without \"..\" and wildcards, as in /weft", p)
	}
	c.Bridge = cmp.Or(c.Bridge, DefaultBridge)
	if p := c.BridgeIP; p.IsValid() && (!p.Addr().Is4() || p.Bits() > 30 || p.Addr() == p.Masked().Addr()) {
		return fault.Invalid("--bip %s: must be the bridge's own IPv4 address with its prefix length, /30 or larger, like 172.17.0.1/16", p)
	}
	return nil
}

// socketPath gives the path of a unix:// address.
func socketPath(listen string) (string, error) {
	path, ok := strings.CutPrefix(listen, "unix://")
	if !ok || !filepath.IsAbs(path) {
		return "", fault.Invalid("--listen %q: only unix:///absolute/path is served; reach an engine on another machine with --host ssh://user@machine", listen)
	}
	// sockaddr_un in linux/un.h has room for 108 bytes with the final zero.
	if len(path) > 107 {
		return "", fault.Invalid("--listen %q: a socket's path may have 107 bytes, this has %d: choose a shorter --run-dir", listen, len(path))
	}
	return path, nil
}
