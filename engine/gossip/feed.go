package gossip

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/docker/docker/libnetwork/networkdb"
	events "github.com/docker/go-events"
)

// gather is how long the feed collects events after the first: a burst of rows
// comes as one message and becomes one call of the handler.
const gather = 5 * time.Millisecond

// run is the feed: it joins the network within s, writes our rows and delivers
// the peers' until ctx ends.
//
// Events only say which rows to look at. What is delivered is what the tables
// hold by then, so neither the order of events nor their overlap with the walk
// matters.
func (n *network) run(ctx context.Context, s *session) {
	changed, stop := s.db.Watch("", n.id)
	defer stop()
	select {
	case <-s.joined:
	case <-ctx.Done():
		return
	}
	known := s.peersOf(n.id)
	known[s.id] = s.g.cfg.AdvertiseAddr
	whole := n.enter(ctx, s, s.g.cfg.times.sync) && s.complete()
	s.wg.Go(func() { n.acquaint(ctx, s, known) })
	n.write(s, true)
	if ctx.Err() != nil {
		return
	}
	n.deliverAll(s, whole)
	// What the handler had from before is not to be taken away because the
	// peers are slow to say it again, but some day it is.
	overdue := time.NewTimer(s.g.cfg.times.grace)
	defer overdue.Stop()
	for {
		dirty := map[string]struct{}{}
		select {
		case <-ctx.Done():
			return
		case ev := <-changed.C:
			note(ev, dirty)
			collect(ctx, changed, dirty)
		case <-n.wake:
		case <-overdue.C:
			if !whole {
				n.deliverAll(s, true)
				whole = true
			}
		}
		rejoin, rewrite := n.pending()
		if rejoin && n.enter(ctx, s, s.g.cfg.times.resync) && !whole && s.complete() {
			n.deliverAll(s, true)
			whole = true
		}
		n.defend(dirty)
		for _, key := range n.write(s, rewrite) {
			dirty[key] = struct{}{}
		}
		if ctx.Err() != nil {
			return
		}
		n.deliver(s, dirty)
	}
}

// enter joins the network and waits for the peers' rows, but not for long: one
// that does not answer costs networkdb half a minute. It gives false when they
// have not come.
func (n *network) enter(ctx context.Context, s *session, limit time.Duration) bool {
	var late, failed atomic.Bool
	entered := make(chan struct{})
	s.g.joins.Go(func() {
		defer close(entered)
		if !s.joinNetwork(ctx, n.id) {
			failed.Store(true)
			return
		}
		if late.Load() {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.rewrite = true // what was written meanwhile may have looked old to the peers
			n.touch()
		}
	})
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-entered:
		return !failed.Load()
	case <-t.C:
		late.Store(true)
		s.g.cfg.Log.DebugContext(ctx, "peers slow to send a network's rows, going on without", "network_id", n.id)
	case <-ctx.Done():
	}
	return false
}

// joinNetwork joins a network and synchronizes with its nodes, one network
// after the other: networkdb awaits one answer per node at a time, and misses
// it when it asks the same node twice (networkdb, bulkSyncAckTbl).
func (s *session) joinNetwork(ctx context.Context, networkID string) bool {
	t := time.NewTimer(s.g.cfg.times.turn)
	defer t.Stop()
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-t.C: // the one before us hangs; ours may be other nodes
	case <-ctx.Done():
		return false
	}
	if err := s.db.JoinNetwork(networkID); err != nil {
		s.g.cfg.Log.ErrorContext(ctx, "network not joined in the gossip", "network_id", networkID, "err", err)
		return false
	}
	return true
}

// pending gives, once, what is to be done over.
func (n *network) pending() (rejoin, rewrite bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	rejoin, rewrite = n.rejoin, n.rewrite
	n.rejoin, n.rewrite = false, false
	return rejoin, rewrite
}

// defend has those of our rows written again that somebody else has changed.
func (n *network) defend(dirty map[string]struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for key := range dirty {
		if _, ok := n.own[key]; ok {
			n.touched[key] = struct{}{}
		}
	}
}

// write brings the tables in line with what is published here and gives the
// keys it looked at: those touched, or all, which are then announced even if
// they are there already. What the peers are about to learn is saved first.
func (n *network) write(s *session, all bool) []string {
	n.mu.Lock()
	if all {
		maps.Copy(n.touched, keySet(n.own))
		maps.Copy(n.touched, keySet(n.gone))
	}
	keys := slices.Sorted(maps.Keys(n.touched))
	clear(n.touched)
	own, gone := maps.Clone(n.own), maps.Clone(n.gone)
	known := maps.Clone(own)
	maps.Copy(known, gone)
	maps.Copy(known, n.inherited)
	n.mu.Unlock()
	if len(keys) == 0 {
		return nil
	}
	s.g.remember(n.id, known)
	for _, key := range keys {
		r, keep := own[key]
		if !keep {
			r = gone[key]
			if r.Table != "" {
				s.withdraw(r.Table, n.id, key, r.Value)
				continue
			}
			s.withdraw(peerTable, n.id, key, r.Peer)
			s.withdraw(recordTable, n.id, key, r.Record)
			continue
		}
		if r.Table != "" {
			s.put(r.Table, n.id, key, r.Value, all)
			continue
		}
		s.put(peerTable, n.id, key, r.Peer, all)
		if r.Record == nil {
			s.withdraw(recordTable, n.id, key, nil)
		} else {
			s.put(recordTable, n.id, key, r.Record, all)
		}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, key := range keys {
		if _, later := n.touched[key]; !later {
			delete(n.gone, key)
		}
	}
	return keys
}

// put makes value the row under key. networkdb refuses to create a row it has
// or had within half an hour, and to update one it has not.
func (s *session) put(table, networkID, key string, value []byte, again bool) {
	have, err := s.db.GetEntry(table, networkID, key)
	if err == nil && bytes.Equal(have, value) && !again {
		return
	}
	if s.db.CreateEntry(table, networkID, key, value) == nil {
		return
	}
	if err := s.db.UpdateEntry(table, networkID, key, value); err != nil {
		s.g.cfg.Log.Error("row not published", "network_id", networkID, "endpoint_id", key, "table", table, "err", err)
	}
}

// withdraw deletes the row under key. A row that only the peers have, from the
// previous run, is made for a moment: dockerd looks for what to undo in the
// value that comes with the deletion.
func (s *session) withdraw(table, networkID, key string, value []byte) {
	if _, err := s.db.GetEntry(table, networkID, key); err != nil {
		if value == nil || s.db.CreateEntry(table, networkID, key, value) != nil {
			return // unknown, or deleted before
		}
	}
	if err := s.db.DeleteEntry(table, networkID, key); err != nil {
		s.g.cfg.Log.Error("row not withdrawn", "network_id", networkID, "endpoint_id", key, "table", table, "err", err)
	}
}

// note adds the key of an event.
func note(ev events.Event, dirty map[string]struct{}) {
	switch e := ev.(type) {
	case networkdb.CreateEvent:
		dirty[e.Key] = struct{}{}
	case networkdb.UpdateEvent:
		dirty[e.Key] = struct{}{}
	case networkdb.DeleteEvent:
		dirty[e.Key] = struct{}{}
	}
}

// collect adds the keys of the events that follow closely.
func collect(ctx context.Context, changed *events.Channel, dirty map[string]struct{}) {
	t := time.NewTimer(gather)
	defer t.Stop()
	for {
		select {
		case ev := <-changed.C:
			note(ev, dirty)
		case <-t.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func keySet[V any](m map[string]V) map[string]struct{} {
	out := make(map[string]struct{}, len(m))
	for k := range m {
		out[k] = struct{}{}
	}
	return out
}
