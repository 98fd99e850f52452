// Package localnet keeps the networks that belong to this node alone: Docker's
// predefined bridge, host and none, and the bridge networks users make. It
// decides about names, subnets and addresses; packets are the driver's.
//
// A network is recorded when it is made and forgotten when it is removed. Its
// addresses in use are not recorded here: they are those of the containers'
// endpoints, which come back with Restore.
package localnet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/engine/fault"
	"weft/engine/ipam"
	"weft/engine/model"
)

// The predefined networks, by Docker's names, and their drivers.
const (
	Bridge = "bridge"
	Host   = "host"
	None   = "none"

	driverBridge = "bridge"
	driverHost   = "host"
	driverNull   = "null"
)

// Options of Docker's bridge driver that networks made here have.
const (
	optionName       = "com.docker.network.bridge.name"
	optionICC        = "com.docker.network.bridge.enable_icc"
	optionMasquerade = "com.docker.network.bridge.enable_ip_masquerade"
)

// Driver carries bridge networks in the kernel of this node.
type Driver interface {
	// Ensure makes a network present; one that is there is adopted.
	Ensure(ctx context.Context, nw model.Network) error
	Remove(ctx context.Context, nw model.Network) error
	Join(ctx context.Context, ep model.Endpoint) (model.Endpoint, error)
	Leave(ctx context.Context, networkID, endpointID string) error
	Publish(ctx context.Context, networkID, endpointID string, wanted []model.PortBinding) ([]model.PublishedPort, error)
	// Sweep removes what is of no network and no endpoint given.
	Sweep(ctx context.Context, networks []model.Network, endpoints map[string]bool) error
}

// Table keeps the records over restarts.
type Table interface {
	Put(id string, n model.Network) error
	Delete(id string) error
	List() (map[string]model.Network, error)
}

// Config is what a Registry is made of. All fields are required.
type Config struct {
	EngineID string // which the predefined networks' IDs derive from
	Table    Table
	Driver   Driver
	// Routed gives the destinations this node has routes to: subnets chosen
	// here keep clear of them.
	Routed  func() ([]netip.Prefix, error)
	Default Default
	Log     *slog.Logger
	Now     func() time.Time
}

// Default describes the predefined bridge network. What is recorded of an
// earlier start counts until it is asked for otherwise.
type Default struct {
	Bridge string       // device
	Subnet netip.Prefix // with the gateway's address; zero: chosen here
	MTU    string       // bytes; empty: the driver's
	ICC    bool
}

// Registry owns this node's networks. It is safe for concurrent use.
type Registry struct {
	Config

	mu       sync.Mutex // guards the following
	pools    *ipam.Pools
	networks map[string]model.Network
	present  map[string]bool // ensured in the kernel since this engine runs
}

// Open reads the records and makes the predefined networks where they are
// missing. Nothing is done in the kernel yet.
func Open(cfg Config) (*Registry, error) {
	pools, err := ipam.New(cfg.EngineID)
	if err != nil {
		return nil, err
	}
	r := &Registry{Config: cfg, pools: pools, present: map[string]bool{}}
	if r.networks, err = cfg.Table.List(); err != nil {
		return nil, err
	}
	for id, nw := range r.networks {
		if nw.Driver != driverBridge {
			continue
		}
		if err := r.claim(&nw, nil); err != nil {
			return nil, fault.Internal("take up the subnets of network %s: %w", nw.Name, err)
		}
		r.networks[id] = nw
	}
	return r, r.predefine()
}

// predefine makes the three networks every node has.
func (r *Registry) predefine() error {
	for name, driver := range map[string]string{Host: driverHost, None: driverNull} {
		if err := r.record(r.predefined(name, driver)); err != nil {
			return err
		}
	}
	want := r.predefined(Bridge, driverBridge)
	if old, ok := r.networks[want.ID]; ok {
		if r.Default.Subnet.IsValid() && r.Default.Subnet != gatewayPrefix(old) {
			r.release(old)
		} else {
			want.Subnets = old.Subnets
		}
		want.Created = old.Created
	}
	want.Options = r.defaultOptions()
	if len(want.Subnets) == 0 {
		if p := r.Default.Subnet; p.IsValid() {
			want.Subnets = []model.Subnet{{Prefix: p.Masked(), Gateway: p.Addr()}}
		}
		avoid, err := r.Routed()
		if err != nil {
			return err
		}
		if err := r.claim(&want, avoid); err != nil {
			return err
		}
	}
	return r.record(want)
}

// predefined gives one of the three as it is without subnets.
func (r *Registry) predefined(name, driver string) model.Network {
	id := sha256.Sum256([]byte(name + r.EngineID))
	nw := model.Network{
		ID: hex.EncodeToString(id[:]), Name: name, Driver: driver, Scope: model.ScopeLocal,
		Options: map[string]string{}, Created: r.Now(),
	}
	if old, ok := r.networks[nw.ID]; ok {
		nw.Created = old.Created
	}
	return nw
}

// defaultOptions are what Docker says of its default bridge.
func (r *Registry) defaultOptions() map[string]string {
	icc := "false"
	if r.Default.ICC {
		icc = "true"
	}
	options := map[string]string{
		"com.docker.network.bridge.default_bridge": "true",
		optionICC:        icc,
		optionMasquerade: "true",
		"com.docker.network.bridge.host_binding_ipv4": "0.0.0.0",
		optionName:                      r.Default.Bridge,
		"com.docker.network.driver.mtu": "1500",
	}
	if r.Default.MTU != "" {
		options["com.docker.network.driver.mtu"] = r.Default.MTU
	}
	return options
}

func gatewayPrefix(nw model.Network) netip.Prefix {
	if len(nw.Subnets) == 0 {
		return netip.Prefix{}
	}
	return netip.PrefixFrom(nw.Subnets[0].Gateway, nw.Subnets[0].Prefix.Bits())
}

func (r *Registry) record(nw model.Network) error {
	if err := r.Table.Put(nw.ID, nw); err != nil {
		return err
	}
	r.networks[nw.ID] = nw
	return nil
}

// claim takes the subnets of nw, one of each family it has. avoid are the
// destinations a chosen one keeps clear of.
func (r *Registry) claim(nw *model.Network, avoid []netip.Prefix) error {
	want := slices.Clone(nw.Subnets)
	if !slices.ContainsFunc(want, isV4) {
		want = append([]model.Subnet{{Chosen: true}}, want...)
	}
	if nw.IPv6 && !slices.ContainsFunc(want, func(s model.Subnet) bool { return s.Prefix.IsValid() && !isV4(s) }) {
		want = append(want, model.Subnet{Chosen: true})
	}
	got := model.Network{}
	for i, s := range want {
		full, err := r.pools.Claim(s, i > 0, avoid)
		if err != nil {
			r.release(got)
			return err
		}
		got.Subnets = append(got.Subnets, full)
	}
	nw.Subnets = got.Subnets
	return nil
}

func isV4(s model.Subnet) bool { return s.Prefix.Addr().Is4() }

func (r *Registry) release(nw model.Network) {
	for _, s := range nw.Subnets {
		r.pools.Release(s)
	}
}

// Networks gives all of them, in the order of their names.
func (r *Registry) Networks() []model.Network {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]model.Network, 0, len(r.networks))
	for _, nw := range r.networks {
		out = append(out, nw)
	}
	slices.SortFunc(out, func(a, b model.Network) int { return strings.Compare(a.Name+a.ID, b.Name+b.ID) })
	return out
}

// Network gives the one with this full ID.
func (r *Registry) Network(id string) (model.Network, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	nw, ok := r.networks[id]
	return nw, ok
}

// Find gives the network a name, a full ID or a unique beginning of one means.
func (r *Registry) Find(term string) (model.Network, bool) {
	if term == "default" {
		term = Bridge
	}
	if nw, ok := r.Network(term); ok {
		return nw, true
	}
	var prefixed []model.Network
	for _, nw := range r.Networks() {
		if nw.Name == term {
			return nw, true
		}
		if term != "" && strings.HasPrefix(nw.ID, term) {
			prefixed = append(prefixed, nw)
		}
	}
	if len(prefixed) == 1 {
		return prefixed[0], true
	}
	return model.Network{}, false
}

// Predefined reports whether a network is one of the three of every node.
func Predefined(name string) bool { return name == Bridge || name == Host || name == None }

// Create makes a bridge network, or one to copy others from, and gives it
// completed.
func (r *Registry) Create(ctx context.Context, nw model.Network) (model.Network, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, other := range r.networks {
		if other.Name == nw.Name {
			return nw, fault.Conflict("network with name %s already exists", nw.Name)
		}
	}
	nw.ID, nw.Scope, nw.Created = model.NewID(), model.ScopeLocal, r.Now()
	if nw.ConfigOnly {
		nw.Driver = driverNull
		return nw, r.record(nw)
	}
	if nw.ConfigFrom != "" {
		if err := r.copyFrom(&nw); err != nil {
			return nw, err
		}
	}
	avoid, err := r.Routed()
	if err != nil {
		return nw, err
	}
	if err := r.claim(&nw, avoid); err != nil {
		return nw, err
	}
	err = r.record(nw)
	if err == nil {
		err = r.ensure(ctx, nw)
	}
	if err != nil {
		r.release(nw)
		delete(r.networks, nw.ID)
		return nw, errors.Join(err, r.Table.Delete(nw.ID))
	}
	return nw, nil
}

// copyFrom gives nw the configuration of the network it names.
func (r *Registry) copyFrom(nw *model.Network) error {
	for _, other := range r.networks {
		if other.Name != nw.ConfigFrom {
			continue
		}
		if !other.ConfigOnly {
			return fault.Forbidden("%s is not a configuration network", nw.ConfigFrom)
		}
		nw.Subnets, nw.Options, nw.Labels = other.Subnets, other.Options, other.Labels
		nw.IPv6, nw.Internal = other.IPv6, other.Internal
		return nil
	}
	return fault.NotFound("configuration network %q does not exist", nw.ConfigFrom)
}

// ensure makes nw present in the kernel. r.mu is held.
func (r *Registry) ensure(ctx context.Context, nw model.Network) error {
	if r.present[nw.ID] {
		return nil
	}
	if err := r.Driver.Ensure(ctx, nw); err != nil {
		return err
	}
	r.present[nw.ID] = true
	return nil
}

// Remove deletes a network nobody is on.
func (r *Registry) Remove(ctx context.Context, id string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	nw, ok := r.networks[id]
	switch {
	case !ok:
		return fault.NotFound("network %s not found", id)
	case Predefined(nw.Name):
		return fault.Forbidden("%s is a pre-defined network and cannot be removed", nw.Name)
	}
	if nw.ConfigOnly {
		for _, other := range r.networks {
			if other.ConfigFrom == nw.Name {
				return fault.Forbidden("configuration network %q is in use", nw.Name)
			}
		}
	} else if err := r.Driver.Remove(ctx, nw); err != nil {
		return err
	}
	if err := r.Table.Delete(id); err != nil {
		return err
	}
	delete(r.networks, id)
	delete(r.present, id)
	if !nw.ConfigOnly {
		r.release(nw)
	}
	return nil
}
