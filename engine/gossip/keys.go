package gossip

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/docker/docker/libnetwork/networkdb"

	"weft/engine/fault"
	"weft/engine/model"
)

// gossipSubsystem marks the keys that are ours; the others seal data packets.
const gossipSubsystem = "networking:gossip"

// ring gives the gossip keys among all, primary first: that is the second
// oldest, because the newest has not reached every node yet and the oldest is
// on its way out (libnetwork/agent.go, getPrimaryKeyTag).
func ring(all []model.GossipKey) ([][]byte, error) {
	var ours []model.GossipKey
	for _, k := range all {
		if k.Subsystem != gossipSubsystem {
			continue
		}
		if n := len(k.Key); n != 16 && n != 24 && n != 32 {
			return nil, fault.Invalid("gossip key with Lamport time %d has %d bytes, AES takes 16, 24 or 32", k.Lamport, n)
		}
		ours = append(ours, k)
	}
	if len(ours) == 0 {
		return nil, fault.Invalid("none of the %d network keys is a gossip key", len(all))
	}
	slices.SortStableFunc(ours, func(a, b model.GossipKey) int { return cmp.Compare(a.Lamport, b.Lamport) })
	if len(ours) > 1 {
		ours[0], ours[1] = ours[1], ours[0]
	}
	keys := make([][]byte, len(ours))
	for i, k := range ours {
		keys[i] = bytes.Clone(k.Key)
	}
	return keys, nil
}

// SetKeys makes keys the ones the gossip is sealed with: new ones are added
// before the primary changes, and those not among them go last. Any number of
// rotations may have been missed in between. With keys that cannot be used it
// fails and changes nothing.
func (g *Gossip) SetKeys(_ context.Context, keys []model.GossipKey) error {
	next, err := ring(keys)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.keys
	g.keys = next
	if g.session != nil {
		turn(g.session.db, old, next)
	}
	return nil
}

// turn replaces the keys of a session.
func turn(db *networkdb.NetworkDB, old, next [][]byte) {
	for _, k := range next {
		db.SetKey(bytes.Clone(k))
	}
	db.SetPrimaryKey(next[0])
	for _, k := range old {
		if !slices.ContainsFunc(next, func(n []byte) bool { return bytes.Equal(n, k) }) {
			db.RemoveKey(k)
		}
	}
}
