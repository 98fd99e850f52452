package bridge

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/nft"
)

// Driver is the data plane of the bridge networks of one host: of the network
// namespace New ran in. It is safe for concurrent use.
type Driver struct {
	log   *slog.Logger
	host  *kernel.Namespace
	table *nft.Conn
	claim net.Listener // see claimNamespace
	// outside opens ports where the host's clients are; nil: here
	outside Opener
	// serviceAt names services of the swarm; see KnowServices
	serviceAt func(proto string, port uint16) string

	mu       sync.Mutex // guards networks
	networks map[string]*network

	rules   sync.Mutex // held while the table is written; guards written
	written bool       // the table, by this driver
}

// network is a network's bridge and who is on it.
type network struct {
	mu        sync.Mutex // guards the following; taken before Driver.rules
	spec      model.Network
	settings  settings
	bridge    int // device index; 0: not there
	endpoints map[string]*endpoint

	rules *ruleSet // guarded by Driver.rules; nil: nothing to say
}

// endpoint is a container's place on a network.
type endpoint struct {
	model.Endpoint
	reserved []*reservation
}

// New makes the driver of the calling thread's network namespace. Where that is
// not the one published ports are to be reached in, outside opens them there;
// it may be nil. It is a Conflict when another process has the namespace.
func New(log *slog.Logger, outside Opener) (*Driver, error) {
	host, err := kernel.Current()
	if err != nil {
		return nil, err
	}
	claim, err := claimNamespace(host)
	if err != nil {
		return nil, errors.Join(err, host.Close())
	}
	table, err := nft.Open(host)
	if err != nil {
		return nil, errors.Join(err, claim.Close(), host.Close())
	}
	return &Driver{log: log, host: host, table: table, claim: claim, outside: outside, networks: map[string]*network{}}, nil
}

// claimNamespace holds a name in the namespace's own space of socket names,
// which ends with the process: two drivers would sweep each other's devices.
func claimNamespace(host *kernel.Namespace) (net.Listener, error) {
	var l net.Listener
	err := kernel.Do(host, func() (err error) {
		l, err = new(net.ListenConfig).Listen(context.Background(), "unix", "@weft/bridge")
		return err
	})
	if err != nil {
		return nil, fault.Conflict("bridge networks of this host belong to another engine: give each engine a network namespace of its own, or stop the other: %w", err)
	}
	return l, nil
}

// Close lets go of the kernel and leaves everything there as it is.
func (d *Driver) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for _, n := range d.networks {
		for _, ep := range n.endpoints {
			errs = append(errs, release(ep.reserved))
		}
	}
	d.networks = map[string]*network{}
	return errors.Join(append(errs, d.claim.Close(), d.table.Close(), d.host.Close())...)
}

// get gives the network of that ID, made where it is missing.
func (d *Driver) get(id string) *network {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.networks[id]
	if n == nil {
		n = &network{endpoints: map[string]*endpoint{}}
		d.networks[id] = n
	}
	return n
}

// Ensure makes the network's bridge, or adopts it, and lets its packets pass.
func (d *Driver) Ensure(_ context.Context, nw model.Network) error {
	s, err := parse(nw)
	if err != nil {
		return err
	}
	n := d.get(nw.ID)
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := d.checkName(s.bridge); err != nil {
		return err
	}
	if nw.IPv6 {
		if err := kernel.KeepAdvertisedRoutes(d.host); err != nil {
			return err
		}
	}
	if err := kernel.SetSysctls(d.host, forwarding(nw)...); err != nil {
		return err
	}
	dev, err := link.EnsureBridge(d.host, link.Bridge{Name: s.bridge, MTU: s.mtu, MAC: bridgeMAC(nw.ID), Addrs: gateways(nw)})
	if err != nil {
		return err
	}
	err = kernel.SetSysctls(d.host, bridgeSysctls(s.bridge, nw)...)
	if err == nil {
		n.spec, n.settings, n.bridge = nw, s, dev.Index
		err = d.writeRules(n)
	}
	if err != nil && dev.Made {
		n.bridge = 0
		err = errors.Join(err, link.Remove(d.host, s.bridge))
	}
	return err
}

// checkName refuses a bridge that somebody else made.
func (d *Driver) checkName(bridge string) error {
	list, err := link.List(d.host)
	if err != nil {
		return err
	}
	for _, l := range list {
		if l.Name == bridge && l.Group != link.Group {
			return fault.Conflict("device %s exists and is not this engine's: choose another name with --opt %s=NAME", bridge, OptionName)
		}
	}
	return nil
}

// Remove takes the network's bridge away. It is Forbidden while containers are
// on it.
func (d *Driver) Remove(_ context.Context, nw model.Network) error {
	n := d.get(nw.ID)
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.endpoints) > 0 {
		return fault.Forbidden("network %s has active endpoints", nw.Name)
	}
	s, err := parse(nw)
	if err != nil {
		return err
	}
	if n.bridge == 0 { // an earlier driver's
		if err := d.checkName(s.bridge); err != nil {
			return nil // somebody else's is none of ours to remove
		}
	}
	if err := link.Remove(d.host, s.bridge); err != nil {
		return err
	}
	n.bridge = 0
	err = d.writeRules(n)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.networks, nw.ID)
	return err
}

// Sweep removes the bridges and endpoints of ours that are not in the sets:
// what a crash left, or everything when both are nil.
func (d *Driver) Sweep(ctx context.Context, networks []model.Network, endpoints map[string]bool) error {
	keep := map[string]bool{}
	for _, nw := range networks {
		s, err := parse(nw)
		if err != nil {
			return err
		}
		keep[s.bridge] = true
	}
	for id, wanted := range endpoints {
		if wanted {
			keep[vethName(id)] = true
		}
	}
	list, err := link.List(d.host)
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range list {
		other := strings.HasPrefix(l.Name, vethPrefix+"-") // no endpoint's: IDs have no dash
		ours := l.Group == link.Group && (l.Kind == "bridge" || (l.Kind == "veth" && !other))
		if ours && !keep[l.Name] {
			d.log.InfoContext(ctx, "left-over device removed", "device", l.Name)
			errs = append(errs, link.Remove(d.host, l.Name))
		}
	}
	if len(keep) == 0 {
		errs = append(errs, d.deleteTable())
	}
	return errors.Join(errs...)
}
