package overlay

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/nft"
	"weft/engine/peer"
)

// DefaultPort is VXLAN's UDP port (RFC 7348, section 8).
const DefaultPort = 4789

// Config is what New needs.
type Config struct {
	Dir  string     // of the overlay namespaces; the driver's own
	VTEP netip.Addr // an address of this host
	Port uint16     // 0: DefaultPort
	Log  *slog.Logger

	Capabilities *kernel.Capabilities // nil: New probes
}

// Driver is the data plane of one node: of the network namespace New ran in.
// It is safe for concurrent use; work on different networks does not wait for
// each other.
type Driver struct {
	dir  string
	vtep netip.Addr
	port uint16
	log  *slog.Logger
	host *kernel.Namespace

	mu       sync.Mutex // guards the following, and users and up of each network
	networks map[string]*network
}

// network is a network's presence on this node.
type network struct {
	users int  // who holds or waits for mu
	up    bool // Ensure succeeded and Remove did not since

	mu        sync.Mutex // guards the following; taken by Driver.lock
	spec      model.Network
	mtu       int
	ns        *kernel.Namespace // nil unless up
	rules     *nft.Conn         // to its tables; nil until there is one
	leg       *leg              // of the host's; nil: none, or not known yet
	segments  []*segment
	endpoints map[string]model.Endpoint
}

// segment is one layer-2 domain of a network on this node.
type segment struct {
	model.Segment
	bridge int // device indexes
	vxlan  int
	table  *peer.Table
	dirty  bool // the kernel may differ from the table
}

// New makes the driver of the calling thread's network namespace. It fails
// with Forbidden or Unsupported where overlay networks can't work, Invalid
// when the VTEP is no address of this host, and Conflict when the UDP port is
// someone else's.
func New(ctx context.Context, cfg Config) (*Driver, error) {
	caps := cfg.Capabilities
	if caps == nil {
		probed := kernel.Probe(ctx)
		caps = &probed
	}
	if err := caps.Overlay(); err != nil {
		return nil, err
	}
	d := &Driver{
		dir: cfg.Dir, vtep: cfg.VTEP.Unmap(), port: cfg.Port, log: cfg.Log,
		networks: map[string]*network{},
	}
	if d.port == 0 {
		d.port = DefaultPort
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	if !filepath.IsAbs(d.dir) {
		return nil, fault.Invalid("directory of overlay namespaces %q: must be an absolute path", d.dir)
	}
	var err error
	if d.host, err = kernel.Current(); err != nil {
		return nil, err
	}
	if err := d.checkUnderlay(); err != nil {
		return nil, errors.Join(err, d.host.Close())
	}
	return d, nil
}

func (d *Driver) checkUnderlay() error {
	if !d.vtep.IsValid() || d.vtep.IsUnspecified() || d.vtep.IsMulticast() || d.vtep.IsLinkLocalUnicast() {
		return fault.Invalid("data path address %s: must be a unicast address of this host (--data-path-addr)", d.vtep)
	}
	if _, err := d.underlay(); err != nil {
		return err
	}
	return link.CheckPort(d.host, d.vtep, d.port)
}

func (d *Driver) underlay() (link.Underlay, error) {
	u, found, err := link.FindUnderlay(d.host, d.vtep)
	if err != nil {
		return u, err
	}
	if !found {
		return u, fault.Invalid("data path address %s: no interface of this host has it (--data-path-addr)", d.vtep)
	}
	return u, nil
}

// MTU gives the MTU that tasks on the network see: what the underlay leaves
// after VXLAN, or less if the network asks for less. It is 0 when the underlay
// is gone.
func (d *Driver) MTU(nw model.Network) int {
	u, err := d.underlay()
	if err != nil {
		d.log.Warn("underlay not found", "vtep", d.vtep, "err", err)
		return 0
	}
	mtu, _ := taskMTU(u.MTU, d.vtep, nw.MTU)
	return mtu
}

// Namespace gives the path of the namespace a network is in while it is
// present. Its gateway addresses are those of the bridges in there.
func (d *Driver) Namespace(networkID string) string { return d.path(networkID) }

// Networks gives the IDs of the networks present, sorted.
func (d *Driver) Networks() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var ids []string
	for id, n := range d.networks {
		if n.up {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Endpoints gives this node's endpoints on the network, sorted by ID.
func (d *Driver) Endpoints(networkID string) []model.Endpoint {
	n := d.lock(networkID)
	defer d.unlock(networkID, n)
	return n.sortedEndpoints()
}

func (n *network) sortedEndpoints() []model.Endpoint {
	list := make([]model.Endpoint, 0, len(n.endpoints))
	for _, ep := range n.endpoints {
		list = append(list, ep)
	}
	slices.SortFunc(list, func(a, b model.Endpoint) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return list
}

// Close lets go of the kernel and leaves everything there as it is.
func (d *Driver) Close() error {
	var errs []error
	for _, id := range d.Networks() {
		n := d.lock(id)
		if n.ns != nil {
			errs = append(errs, n.closeTables(), n.ns.Close())
		}
		d.drop(n)
		d.unlock(id, n)
	}
	return errors.Join(append(errs, d.host.Close())...)
}

// lock gives the network of that ID, present or not, to the caller alone
// until unlock.
func (d *Driver) lock(id string) *network {
	d.mu.Lock()
	n := d.networks[id]
	if n == nil {
		n = &network{endpoints: map[string]model.Endpoint{}}
		d.networks[id] = n
	}
	n.users++
	d.mu.Unlock()
	n.mu.Lock()
	return n
}

func (d *Driver) unlock(id string, n *network) {
	n.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	if n.users--; n.users == 0 && !n.up {
		delete(d.networks, id)
	}
}

// drop forgets what n is. n is locked.
func (d *Driver) drop(n *network) {
	n.ns, n.segments, n.leg = nil, nil, nil
	clear(n.endpoints)
	d.mu.Lock()
	defer d.mu.Unlock()
	n.up = false
}

// lockPresent is lock for a network that must be present.
func (d *Driver) lockPresent(id string) (*network, error) {
	n := d.lock(id)
	if n.ns == nil {
		d.unlock(id, n)
		return nil, fault.NotFound("network %s is not present on this node", id)
	}
	return n, nil
}
