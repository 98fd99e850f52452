package link

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/model"
)

// maxInterfaces bounds the search for a free ethN in a sandbox.
const maxInterfaces = 1024

// Route leads out of a sandbox through a gateway.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Veth plugs a sandbox into a bridge: Name is the end in the bridge's
// namespace, the other end is the sandbox's interface. Without a bridge it
// links the two namespaces directly.
type Veth struct {
	Name   string
	Bridge int // index; 0: none
	// PortAddrs are those of the end without a bridge.
	PortAddrs []netip.Prefix
	IfName    string // in the sandbox; empty: IfPrefix and the first number that is free
	// IfPrefix begins a name chosen here; empty: "eth".
	IfPrefix string
	MTU      int
	MAC      model.MAC // of the sandbox's end
	Addrs    []netip.Prefix
	IPv6     bool // of the sandbox's end, although it has no address
	Routes   []Route
	Isolated bool // from the bridge's other isolated ports
	Hairpin  bool // frames may leave by the port they came in by
	// Told has the bridge learn nothing at the port: it is told of the
	// sandbox's MAC address, and has nothing for others go there but what is
	// for all.
	Told bool
}

// EnsureVeth makes the sandbox have the interface, up, with its addresses and
// routes, and lo up. It gives the interface's name in the sandbox. A name that
// another interface has is a Conflict. made tells whether the pair is new.
func EnsureVeth(ns, sandbox *kernel.Namespace, spec Veth) (ifName string, made bool, err error) {
	if err := checkIfName(spec.IfName); err != nil {
		return "", false, err
	}
	outer, err := ns.Netlink()
	if err != nil {
		return "", false, err
	}
	inner, err := sandbox.Netlink()
	if err != nil {
		return "", false, err
	}
	port, iface, err := findVeth(outer, inner, spec)
	if err != nil {
		return "", false, err
	}
	if port == nil {
		if err := Remove(ns, spec.Name); err != nil {
			return "", false, err
		}
		if port, iface, err = addVeth(outer, inner, sandbox, spec); err != nil {
			return "", false, err
		}
		made = true
		defer func() {
			if err != nil {
				err = errors.Join(err, Remove(ns, spec.Name))
			}
		}()
	}
	ifName = iface.Attrs().Name
	if err := setUpPort(ns, outer, port, spec); err != nil {
		return "", made, err
	}
	if err := setUpInterface(sandbox, inner, iface, spec); err != nil {
		return "", made, err
	}
	if err := Ready(ns, port.Attrs().Index, spec.PortAddrs); err != nil {
		return "", made, err
	}
	if err := Ready(sandbox, iface.Attrs().Index, spec.Addrs); err != nil {
		return "", made, err
	}
	if spec.Bridge != 0 { // which has a carrier since its first port has
		if err := Ready(ns, spec.Bridge, nil); err != nil {
			return "", made, err
		}
	}
	return ifName, made, nil
}

func checkIfName(name string) error {
	if len(name) > MaxName || name == "." || name == ".." || strings.ContainsAny(name, "/: \t\n%") {
		return fault.Invalid("interface name %q: at most %d bytes, without spaces, slashes, colons and percent signs", name, MaxName)
	}
	return nil
}

// findVeth finds both ends of the pair as spec wants it; none when it is
// missing or is something else.
func findVeth(outer, inner *netlink.Handle, spec Veth) (port, iface netlink.Link, err error) {
	port, err = find(outer, spec.Name)
	if err != nil || port == nil || port.Type() != "veth" {
		return nil, nil, err
	}
	iface, err = inner.LinkByIndex(port.Attrs().ParentIndex)
	if errors.As(err, &netlink.LinkNotFoundError{}) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("look up the other end of %s: %w", spec.Name, err)
	}
	a := iface.Attrs()
	match := iface.Type() == "veth" && a.ParentIndex == port.Attrs().Index &&
		bytes.Equal(a.HardwareAddr, spec.MAC.HardwareAddr()) &&
		(spec.IfName == "" || spec.IfName == a.Name)
	if !match {
		return nil, nil, nil
	}
	return port, iface, nil
}

// addVeth makes the pair with each end in its place at once: an interface
// that never had another name or namespace can't be left halfway.
func addVeth(outer, inner *netlink.Handle, sandbox *kernel.Namespace, spec Veth) (port, iface netlink.Link, err error) {
	pair := netlink.NewVeth(attrs(spec.Name, spec.MTU))
	pair.PeerMTU = uint32(spec.MTU) //nolint:gosec // at most 65535
	pair.PeerHardwareAddr = spec.MAC.HardwareAddr()
	pair.PeerNamespace = netlink.NsFd(sandbox.Fd())
	pair.PeerName = spec.IfName
	for n := 0; ; n++ {
		if spec.IfName == "" {
			pair.PeerName = fmt.Sprintf("%s%d", cmp.Or(spec.IfPrefix, "eth"), n)
		}
		err = outer.LinkAdd(pair)
		if !errors.Is(err, unix.EEXIST) || spec.IfName != "" || n == maxInterfaces {
			break
		}
	}
	if errors.Is(err, unix.EEXIST) {
		return nil, nil, fault.Conflict("sandbox %s already has an interface %s", sandbox.Path(), pair.PeerName)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("make veth pair %s and %s: %w", spec.Name, pair.PeerName, err)
	}
	if port, err = outer.LinkByName(spec.Name); err == nil {
		iface, err = inner.LinkByName(pair.PeerName)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("look up the veth pair %s: %w", spec.Name, err), outer.LinkDel(pair))
	}
	return port, iface, nil
}

func setUpPort(ns *kernel.Namespace, outer *netlink.Handle, port netlink.Link, spec Veth) error {
	if err := setMTU(outer, port, spec.MTU); err != nil {
		return err
	}
	if spec.Bridge == 0 {
		if err := kernel.SetSysctls(ns, interfaceSysctls(spec.Name, spec.PortAddrs, false)...); err != nil {
			return err
		}
		if err := setAddrs(outer, port, spec.PortAddrs); err != nil {
			return err
		}
	}
	if port.Attrs().MasterIndex != spec.Bridge {
		if err := outer.LinkSetMasterByIndex(port, spec.Bridge); err != nil {
			return fmt.Errorf("plug %s into its bridge: %w", spec.Name, err)
		}
	}
	if spec.Isolated {
		if err := outer.LinkSetIsolated(port, true); err != nil {
			return fmt.Errorf("isolate the bridge port %s: %w", spec.Name, err)
		}
	}
	if spec.Hairpin {
		if err := outer.LinkSetHairpin(port, true); err != nil {
			return fmt.Errorf("let frames turn round at the bridge port %s: %w", spec.Name, err)
		}
	}
	if spec.Told {
		if err := tell(outer, port, spec.MAC); err != nil {
			return fmt.Errorf("tell the bridge what is behind %s: %w", spec.Name, err)
		}
	}
	return up(outer, port)
}

func tell(outer *netlink.Handle, port netlink.Link, mac model.MAC) error {
	have, err := outer.LinkGetProtinfo(port)
	if err != nil || have.Learning || have.Flood { // setting them again would restart the port's timers
		if err := errors.Join(outer.LinkSetLearning(port, false), outer.LinkSetFlood(port, false)); err != nil {
			return err
		}
	}
	return outer.NeighSet(&netlink.Neigh{
		LinkIndex: port.Attrs().Index, Family: unix.AF_BRIDGE, State: unix.NUD_NOARP, Flags: unix.NTF_MASTER, HardwareAddr: mac.HardwareAddr(),
	})
}

func setUpInterface(sandbox *kernel.Namespace, inner *netlink.Handle, iface netlink.Link, spec Veth) error {
	if err := kernel.SetSysctls(sandbox, interfaceSysctls(iface.Attrs().Name, spec.Addrs, spec.IPv6)...); err != nil {
		return err
	}
	if err := setMTU(inner, iface, spec.MTU); err != nil {
		return err
	}
	if err := setAddrs(inner, iface, spec.Addrs); err != nil {
		return err
	}
	if err := up(inner, iface); err != nil {
		return err
	}
	for _, r := range spec.Routes {
		route := &netlink.Route{LinkIndex: iface.Attrs().Index, Dst: ipNet(r.To), Gw: r.Via.AsSlice()}
		if err := inner.RouteReplace(route); err != nil {
			return fmt.Errorf("route %s via %s in sandbox %s: %w", r.To, r.Via, sandbox.Path(), err)
		}
	}
	return Up(sandbox, "lo")
}

// interfaceSysctls gives IPv6 to the interface if it has an IPv6 address or v6
// says so, and only then, as Docker does. Its addresses are assigned: no router's word
// changes them or the way to others, and no duplicate is looked for.
func interfaceSysctls(name string, addrs []netip.Prefix, v6 bool) []kernel.Sysctl {
	disabled := "1"
	if v6 {
		disabled = "0"
	}
	for _, a := range addrs {
		if a.Addr().Is6() {
			disabled = "0"
		}
	}
	dir := "net/ipv6/conf/" + name + "/"
	optional := disabled == "1"
	return []kernel.Sysctl{
		{Key: dir + "disable_ipv6", Value: disabled, Optional: optional},
		{Key: dir + "accept_dad", Value: "0", Optional: optional},
		{Key: dir + "accept_ra", Value: "0", Optional: optional},
		{Key: dir + "accept_redirects", Value: "0", Optional: optional},
		{Key: dir + "autoconf", Value: "0", Optional: optional},
	}
}
