package ingress

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"strconv"

	"weft/wizard"
)

// Flow is the kind of workflow, as in plans and journals.
const Flow = "ingress-customise"

// MTUOption is Docker's name for the MTU of an overlay network, in bytes.
const MTUOption = "com.docker.network.driver.mtu"

// vniOption is where the overlay driver notes the VNIs it has allocated. It is
// state: a new network gets its own.
const vniOption = "com.docker.network.driver.overlay.vxlanid_list"

// Strategy is how the published ports are taken off.
type Strategy string

// The strategies.
const (
	// Detach keeps the services running: each is updated twice, so that its
	// tasks are replaced twice.
	Detach Strategy = "detach"
	// ScaleToZero stops replicated services meanwhile, so that their tasks are
	// replaced once. Global services are detached.
	ScaleToZero Strategy = "scale-to-zero"
)

// Options are what the new ingress network is to be like. What is left out
// stays as it is on the old one.
type Options struct {
	Name     string            `json:"name,omitempty"`
	Pools    []Pool            `json:"pools,omitempty"`
	MTU      int               `json:"mtu,omitempty"` // bytes; 0: as it is
	Opts     map[string]string `json:"opts,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	IPv4     *bool             `json:"ipv4,omitempty"`
	IPv6     *bool             `json:"ipv6,omitempty"`
	Strategy Strategy          `json:"strategy"`
}

// networkName is what SwarmKit takes for a name (manager/controlapi, validateAnnotations).
var networkName = regexp.MustCompile(`^[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?$`)

// ParseOptions reads answers. It finds what is wrong in itself; what the
// cluster has against it is found by planning.
func ParseOptions(answers json.RawMessage) (Options, error) {
	o := Options{Strategy: Detach}
	if err := json.Unmarshal(answers, &o); err != nil {
		return Options{}, fmt.Errorf("read answers: %w", err)
	}
	return o, o.check()
}

func (o *Options) check() error {
	switch {
	case o.Name != "" && !networkName.MatchString(o.Name):
		return wrong("name", "%q is no name for a network: letters, digits and - _ . between them", o.Name)
	case o.Strategy != Detach && o.Strategy != ScaleToZero:
		return wrong("strategy", "strategy %q is neither %s nor %s", o.Strategy, Detach, ScaleToZero)
	case o.MTU != 0 && o.Opts[MTUOption] != "" && o.Opts[MTUOption] != strconv.Itoa(o.MTU):
		return wrong("mtu", "the MTU is given twice: %d, and %s as an option", o.MTU, o.Opts[MTUOption])
	}
	errs := []error{checkMTU(o.MTU)}
	for i := range o.Pools {
		errs = append(errs, o.Pools[i].check())
	}
	return errors.Join(errs...)
}

// checkMTU refuses what no IPv4 network may have (RFC 791: 68 bytes), and more
// than a packet's length field can say.
func checkMTU(mtu int) error {
	if mtu != 0 && (mtu < 68 || mtu > 65535) {
		return wrong("mtu", "MTU %d is not between 68 and 65535", mtu)
	}
	return nil
}

func (p *Pool) check() error {
	if p.Subnet == "" {
		return wrong("subnet", "a gateway, range or auxiliary address needs its subnet: give --subnet")
	}
	subnet, err := netip.ParsePrefix(p.Subnet)
	if err != nil {
		return wrong("subnet", "invalid subnet %s: it must be in CIDR form, such as 10.11.0.0/16", p.Subnet)
	}
	if subnet != subnet.Masked() {
		return wrong("subnet", "invalid subnet %s: it should be %s", subnet, subnet.Masked())
	}
	var errs []error
	if p.IPRange != "" {
		r, err := netip.ParsePrefix(p.IPRange)
		if err != nil || r.Bits() < subnet.Bits() || !subnet.Contains(r.Addr()) {
			errs = append(errs, wrong("ip-range", "range %s is not inside subnet %s", p.IPRange, subnet))
		}
	}
	if p.Gateway != "" {
		errs = append(errs, inside("gateway", "gateway", p.Gateway, subnet))
	}
	for name, addr := range p.AuxAddress {
		errs = append(errs, inside("aux-address", "auxiliary address "+name, addr, subnet))
	}
	return errors.Join(errs...)
}

func inside(answer, what, addr string, subnet netip.Prefix) error {
	a, err := netip.ParseAddr(addr)
	if err != nil || !subnet.Contains(a) {
		return wrong(answer, "%s %s is not inside subnet %s", what, addr, subnet)
	}
	if a == subnet.Addr() && subnet.Bits() < subnet.Addr().BitLen()-1 {
		return wrong(answer, "%s %s is the address of subnet %s itself", what, addr, subnet)
	}
	return nil
}

func wrong(answer, format string, args ...any) error {
	return &wizard.AnswerError{Answer: answer, Err: fmt.Errorf(format, args...)}
}

// renewed gives the spec of the network that replaces old, which may be nil.
func (o *Options) renewed(old *Network) NetworkSpec {
	n := NetworkSpec{Name: "ingress", Driver: "overlay", Ingress: true}
	if old != nil {
		n = old.again()
	}
	if o.Name != "" {
		n.Name = o.Name
	}
	if len(o.Pools) > 0 {
		n.IPAM.Config = o.Pools
	}
	n.Options = merged(n.Options, o.Opts)
	if o.MTU != 0 {
		n.Options = merged(n.Options, map[string]string{MTUOption: strconv.Itoa(o.MTU)})
	}
	n.Labels = merged(n.Labels, o.Labels)
	if o.IPv4 != nil {
		n.EnableIPv4 = o.IPv4
	}
	if o.IPv6 != nil {
		n.EnableIPv6 = *o.IPv6
	}
	return n
}

// again gives the spec that makes a network like n.
func (n *Network) again() NetworkSpec {
	spec := n.Spec
	spec.Options = maps.Clone(spec.Options)
	delete(spec.Options, vniOption)
	if len(spec.Options) == 0 {
		spec.Options = nil
	}
	return spec
}

// mtu gives the MTU a network is set to, or 0.
func (n *NetworkSpec) mtu() int {
	mtu, err := strconv.Atoi(n.Options[MTUOption])
	if err != nil {
		return 0
	}
	return mtu
}

func merged(a, b map[string]string) map[string]string {
	if len(a)+len(b) == 0 {
		return nil
	}
	out := maps.Clone(a)
	if out == nil {
		out = map[string]string{}
	}
	maps.Copy(out, b)
	return out
}
