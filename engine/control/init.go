package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/manager/encryption"

	"weft/engine/fault"
)

// Init founds a swarm with this node as its first manager, or with
// ForceNewCluster makes this manager the only one of the swarm it is in. It
// gives the node's ID. A failed Init leaves nothing behind.
func (n *Node) Init(ctx context.Context, req swarm.InitRequest) (string, error) {
	n.control.Lock()
	defer n.control.Unlock()
	old := n.current()
	if old != nil {
		if !req.ForceNewCluster {
			return "", errSwarmExists
		}
		if !old.view().isManager() {
			return "", errWorker
		}
	}
	conf, err := n.initConfig(&req)
	if err != nil {
		return "", err
	}
	if old != nil {
		if err := old.stop(ctx, false); err != nil {
			return "", err
		}
		n.set(nil)
	}
	if err := checkListen(netip.MustParseAddrPort(conf.ListenAddr)); err != nil {
		return "", err
	}
	if old == nil { // else the host holds itself what it would look for
		if err := n.check(ctx, conf); err != nil {
			return "", err
		}
	}
	r, err := n.launch(ctx, conf)
	if err == nil {
		err = n.taken(ctx, r)
	}
	if err != nil {
		return "", undone(err, n.forget(ctx, r, req.ForceNewCluster))
	}
	if err := r.applySpec(ctx, req.Spec); err != nil {
		return "", undone(classify(err), n.forget(ctx, r, req.ForceNewCluster))
	}
	return r.view().nodeID(), nil
}

func (n *Node) initConfig(req *swarm.InitRequest) (startConfig, error) {
	var none startConfig
	addr, err := withPort(req.ListenAddr)
	if err != nil {
		return none, fault.Invalid("invalid ListenAddr %q: %w", req.ListenAddr, err)
	}
	if err := checkSpec(&req.Spec); err != nil {
		return none, err
	}
	listen, err := resolveListen(addr)
	if err != nil {
		return none, err
	}
	advertise, err := n.resolveAdvertise(req.AdvertiseAddr, listen.Port())
	if err != nil {
		return none, err
	}
	dataPath, err := n.resolveDataPath(req.DataPathAddr)
	if err != nil {
		return none, err
	}
	local, err := n.localFor(listen.Addr(), advertise.Addr())
	if err != nil {
		return none, err
	}
	pool, size := req.DefaultAddrPool, req.SubnetSize
	if len(pool) == 0 {
		pool, size = n.cfg.DefaultAddrPool, n.cfg.SubnetSize
	}
	pool, size, err = checkPool(pool, size)
	if err != nil {
		return none, err
	}
	port := req.DataPathPort
	if port == 0 {
		port = n.cfg.DataPathPort
	}
	port, err = dataPathPort(port)
	return startConfig{
		LocalAddr: local.String(), ListenAddr: listen.String(), AdvertiseAddr: advertise.String(),
		DataPathAddr: dataPath, DefaultAddressPool: pool, SubnetSize: size, DataPathPort: port,
		forceNewCluster: req.ForceNewCluster, autolock: req.AutoLockManagers, availability: req.Availability,
	}, err
}

// localFor is this machine's own address when it listens on all of them.
func (n *Node) localFor(listen, advertise netip.Addr) (netip.Addr, error) {
	switch {
	case !listen.IsUnspecified():
		return listen, nil
	case isLocal(advertise):
		return advertise, nil
	}
	a, err := n.systemAddr()
	if err != nil {
		return netip.Addr{}, fault.Invalid("must specify a listening address because the address to advertise is not recognized as a system address, and a system's IP address to use could not be uniquely identified")
	}
	return a, nil
}

// checkSpec names a swarm's spec as all are, and refuses what can't be one.
func checkSpec(spec *swarm.Spec) error {
	if spec.Name == "" {
		spec.Name = "default"
	}
	if spec.Name != "default" {
		return fault.Invalid(`swarm spec must be named "default"`)
	}
	return noNulls("ExternalCAs", spec.CAConfig.ExternalCAs)
}

// The smallest subnet Docker gives an overlay network, and the one it gives
// when not asked: a /29 has room for the addresses a node needs itself.
const (
	maxSubnetSize     = 29
	defaultSubnetSize = 24
)

func checkPool(pool []string, size uint32) ([]string, uint32, error) {
	if len(pool) == 0 {
		return nil, 0, nil
	}
	if size == 0 {
		size = defaultSubnetSize
	}
	if size > maxSubnetSize {
		return nil, 0, fault.Invalid("subnet size is out of range: %d", size)
	}
	out := make([]string, len(pool))
	for i, s := range pool {
		out[i] = strings.TrimSpace(s)
		p, err := netip.ParsePrefix(out[i])
		if err != nil {
			return nil, 0, fault.Invalid("invalid base pool %s: %w", out[i], err)
		}
		if !p.Addr().Is4() {
			return nil, 0, fault.Invalid("invalid base pool %s: overlay networks take their addresses from IPv4 pools", out[i])
		}
		if int(size) < p.Bits() {
			return nil, 0, fault.Invalid("invalid CIDR: %q. Subnet size is too small for pool: %d", out[i], size)
		}
	}
	return out, size, nil
}

// launch starts a runner and waits until it is ready or has failed.
func (n *Node) launch(ctx context.Context, conf startConfig) (*runner, error) {
	r, err := startRunner(&n.cfg, conf)
	if err != nil {
		return nil, err
	}
	n.set(r)
	return r, classify(r.wait(ctx))
}

// check asks a host that can tell whether it could be part of the swarm.
func (n *Node) check(ctx context.Context, conf startConfig) error {
	c, ok := n.cfg.Host.(Checker)
	if !ok {
		return nil
	}
	local, err := localAddr(conf)
	if err != nil {
		return err
	}
	m, err := view{conf: conf, localAddr: local}.membership()
	if err != nil {
		return err
	}
	return c.CheckMembership(ctx, m)
}

// taken waits for the host to take up the membership. One that is slow is not
// waited for: Info tells what it has against it later.
func (n *Node) taken(ctx context.Context, r *runner) error {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.JoinTimeout)
	defer cancel()
	return r.hostUp(ctx)
}

// forget undoes a launch. keepState leaves what was there before it.
func (n *Node) forget(ctx context.Context, r *runner, keepState bool) error {
	n.set(nil)
	if r != nil {
		if err := r.stop(context.WithoutCancel(ctx), false); err != nil {
			return err
		}
	}
	if keepState {
		return nil
	}
	return wipeState(n.cfg.StateDir)
}

// undone is err, with what went wrong when it was undone.
func undone(err, undo error) error {
	if undo == nil {
		return err
	}
	return errors.Join(err, undo)
}

// applySpec gives the founded cluster what Init was asked for beyond
// SwarmKit's defaults.
func (r *runner) applySpec(ctx context.Context, spec swarm.Spec) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	c, cluster, err := r.firstCluster(ctx)
	if err != nil {
		return fmt.Errorf("read the new swarm's settings: %w", err)
	}
	merged, err := convert.MergeSwarmSpecToGRPC(spec, cluster.Spec)
	if err != nil {
		return fault.Invalid("error updating cluster settings: %w", err)
	}
	_, err = c.UpdateCluster(ctx, &api.UpdateClusterRequest{
		ClusterID: cluster.ID, ClusterVersion: &cluster.Meta.Version, Spec: &merged,
	})
	return err
}

// Unlock starts a locked node with its key.
func (n *Node) Unlock(ctx context.Context, req swarm.UnlockRequest) error {
	n.control.Lock()
	defer n.control.Unlock()
	r := n.current()
	v := r.view()
	if v.conn != nil {
		return errNotLocked
	}
	if err := v.noManager(); !errors.Is(err, errLocked) {
		return err
	}
	key, err := encryption.ParseHumanReadableKey(req.UnlockKey)
	if err != nil {
		return fault.Invalid("%w", err)
	}
	if err := r.stop(ctx, true); err != nil {
		return err
	}
	conf := v.conf
	conf.unlockKey = key
	_, err = n.launch(ctx, conf)
	switch {
	case errors.Is(err, errLocked):
		return errUnlockKey
	case err != nil:
		return fault.Internal("swarm component could not be started: %w", err)
	}
	return nil
}
