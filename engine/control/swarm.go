package control

import (
	"context"
	"net"
	"net/netip"

	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/manager/encryption"

	"weft/engine/fault"
)

// twoManagers is dockerd's warning, line breaks included.
const twoManagers = `WARNING: Running Swarm in a two-manager configuration. This configuration provides
         no fault tolerance, and poses a high risk to lose control over the cluster.
         Refer to https://docs.docker.com/engine/swarm/admin_guide/ to configure the
         Swarm for fault-tolerance.`

// Info gives the Swarm part of `GET /info`. What can't be found out is told
// in its Error.
func (n *Node) Info(ctx context.Context) swarm.Info {
	v := n.current().view()
	info := swarm.Info{LocalNodeState: v.status, NodeID: v.nodeID(), NodeAddr: v.addr()}
	if v.err != nil {
		info.Error = v.err.Error()
	}
	if v.node != nil {
		for _, p := range v.node.Remotes() {
			info.RemoteManagers = append(info.RemoteManagers, swarm.Peer{NodeID: p.NodeID, Addr: p.Addr})
		}
	}
	if v.exec != nil && info.Error == "" {
		if err := v.exec.trouble(); err != nil {
			info.Error = err.Error()
		}
	}
	if v.conn == nil {
		return info
	}
	info.ControlAvailable = true
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	if err := clusterInfo(ctx, api.NewControlClient(v.conn), &info); err != nil {
		info.Error = err.Error()
	}
	if v.status == swarm.LocalNodeStateActive && info.Managers == 2 {
		info.Warnings = append(info.Warnings, twoManagers)
	}
	return info
}

func clusterInfo(ctx context.Context, c api.ControlClient, info *swarm.Info) error {
	info.Cluster = &swarm.ClusterInfo{}
	cluster, err := theCluster(ctx, c)
	if err != nil {
		return err
	}
	*info.Cluster = convert.SwarmFromGRPC(*cluster).ClusterInfo
	nodes, err := listNodes(ctx, c, nil)
	for _, m := range nodes {
		info.Nodes++
		if m.ManagerStatus != nil {
			info.Managers++
		}
	}
	return err
}

// membership is what is known of this node's place before the swarm has said
// anything: all but its ID, and the data path port where this node founds the
// swarm (0 where it joins one).
func (v view) membership() (Membership, error) {
	m := Membership{DataPathPort: uint16(v.conf.DataPathPort)} //nolint:gosec // validated by dataPathPort
	var err error
	if m.ListenAddr, err = netip.ParseAddrPort(v.conf.ListenAddr); err != nil {
		return m, err
	}
	if m.AdvertiseAddr, err = netip.ParseAddr(v.addr()); err != nil {
		return m, err
	}
	m.DataPathAddr = m.AdvertiseAddr
	if v.conf.DataPathAddr != "" {
		m.DataPathAddr, err = netip.ParseAddr(v.conf.DataPathAddr)
	}
	return m, err
}

// addr is the address the swarm knows this node by.
func (v view) addr() string {
	if host, _, err := net.SplitHostPort(v.conf.AdvertiseAddr); err == nil {
		return host
	}
	return v.localAddr
}

// Inspect gives the swarm with its join tokens.
func (n *Node) Inspect(ctx context.Context) (swarm.Swarm, error) {
	var out swarm.Swarm
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		cluster, err := theCluster(ctx, c)
		if err == nil {
			out = convert.SwarmFromGRPC(*cluster)
		}
		return err
	})
	return out, err
}

// Update replaces the swarm's settings and rotates what flags name. Fields
// that are zero fall back to SwarmKit's defaults.
func (n *Node) Update(ctx context.Context, version uint64, spec swarm.Spec, flags swarm.UpdateFlags) error {
	return n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		cluster, err := theCluster(ctx, c)
		if err != nil {
			return err
		}
		if err := checkSpec(&spec); err != nil {
			return err
		}
		conv, err := convert.SwarmSpecToGRPC(spec)
		if err != nil {
			return fault.Invalid("%w", err)
		}
		_, err = c.UpdateCluster(ctx, &api.UpdateClusterRequest{
			ClusterID: cluster.ID, Spec: &conv, ClusterVersion: &api.Version{Index: version},
			Rotation: api.KeyRotation{
				WorkerJoinToken:  flags.RotateWorkerToken,
				ManagerJoinToken: flags.RotateManagerToken,
				ManagerUnlockKey: flags.RotateManagerUnlockKey,
			},
		})
		return err
	})
}

// UnlockKey gives the key that unlocks a restarted manager, or "" when
// managers are not locked.
func (n *Node) UnlockKey(ctx context.Context) (string, error) {
	v := n.current().view()
	if v.conn == nil {
		return "", v.noManager()
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	r, err := api.NewCAClient(v.conn).GetUnlockKey(ctx, &api.GetUnlockKeyRequest{})
	if err != nil || len(r.UnlockKey) == 0 {
		return "", classify(err)
	}
	return encryption.HumanReadableKey(r.UnlockKey), nil
}
