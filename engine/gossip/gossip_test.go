package gossip

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/model"
)

func TestNodesTellEachOther(t *testing.T) {
	t.Parallel()
	a, b, c := addr(t, "127.1.0.1"), addr(t, "127.1.0.2"), addr(t, "127.1.0.3")
	ga, va := startGossip(t, a, nil, a) // a sole manager knows only itself
	if d := eventually(t, 5*time.Second, "a alone has its first view", func() bool { return va.sees() && va.first() }, va); d > time.Second {
		t.Errorf("alone, the first view took %v", d)
	}
	publish(t, ga, "a1", "a2")
	eventually(t, time.Second, "a's own names", func() bool { return va.hears("a1", "a2") }, va)
	gb, vb := startGossip(t, b, nil, a)
	publish(t, gb, "b1")
	eventually(t, 10*time.Second, "b sees a", func() bool { return vb.sees("a1", "a2") && vb.hears("a1", "a2", "b1") }, vb)
	eventually(t, 5*time.Second, "a sees b", func() bool { return va.sees("b1") && va.hears("b1") }, va)
	if !vb.first() {
		t.Errorf("b was not told the whole first, or more: %v", vb)
	}
	vb.mu.Lock()
	p := vb.peers["a1"]
	vb.mu.Unlock()
	if p.VTEP != vtepOf(a) || p.Addr != testEndpoint("a1", a, 0).Addr || p.MAC != testEndpoint("a1", a, 0).MAC {
		t.Errorf("a1 = %+v", p)
	}

	gc, vc := startGossip(t, c, nil, a)
	eventually(t, 10*time.Second, "c sees all", func() bool { return vc.sees("a1", "a2", "b1") }, vc)
	for _, g := range []*Gossip{ga, gb, gc} {
		eventually(t, 5*time.Second, "three members", func() bool { return len(g.Members()) == 3 && len(g.NetworkPeers(testNet)) == 3 && g.Healthy() })
	}
	if m := gc.Members(); m[0].Addr != a || m[2].Addr != c || !m[2].Self || m[0].Self {
		t.Errorf("members: %+v", m)
	}
	if r := gc.Records(testNet); len(r) != 3 || r[0].EndpointID != "a1" {
		t.Errorf("records: %+v", r)
	}

	publish(t, ga, "a1", "a2") // once more: nothing to tell
	if err := ga.Unpublish(t.Context(), testNet, "a1"); err != nil {
		t.Fatal(err)
	}
	d := eventually(t, 5*time.Second, "a1 is gone", func() bool { return vb.sees("a2") && vc.sees("a2", "b1") && !vb.hears("a1") }, vb, vc)
	t.Logf("withdrawn after %v", d)
	if err := gb.LeaveNetwork(t.Context(), testNet); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "b1 is gone", func() bool { return va.sees() && vc.sees("a2") }, va, vc)
	if err := ga.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	d = eventually(t, 3*time.Second, "a is gone", func() bool { return vc.sees() && len(gc.Members()) == 2 }, vc)
	t.Logf("all of a gone %v after it closed", d)
	if raw, err := ga.cfg.Store.Load(stateKey); err != nil || strings.Contains(string(raw), `"id"`) || !strings.Contains(string(raw), "127.1.0.2") {
		t.Errorf("after a clean end the state is %s, %v", raw, err)
	}
}

func TestBurstComesInFewCalls(t *testing.T) {
	t.Parallel()
	a, b := addr(t, "127.2.0.1"), addr(t, "127.2.0.2")
	ga, _ := startGossip(t, a, nil)
	const n = 300
	ids := make([]string, n)
	for i := range ids {
		ids[i] = "e" + strconv.Itoa(i)
	}
	publish(t, ga, ids...)
	eventually(t, 10*time.Second, "all written", func() bool { return len(ga.Records(testNet)) == n })
	_, vb := startGossip(t, b, nil, a)
	d := eventually(t, 10*time.Second, "all told", func() bool { return vb.sees(ids...) }, vb)
	vb.mu.Lock()
	defer vb.mu.Unlock()
	if vb.calls > 3 {
		t.Errorf("%d rows came in %d calls", n, vb.calls)
	}
	t.Logf("%d rows after %v in %d calls", n, d, vb.calls)
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	a, b := addr(t, "127.3.0.1"), addr(t, "127.3.0.2")
	ga, va := startGossip(t, a, nil, b)
	gb, vb := startGossip(t, b, nil, a)
	publish(t, ga, "a1")
	eventually(t, 10*time.Second, "b sees a1", func() bool { return vb.sees("a1") }, vb)
	for _, ring := range [][]model.GossipKey{keys(2, 3, 4), keys(3, 4, 5)} {
		for _, g := range []*Gossip{ga, gb} {
			if err := g.SetKeys(t.Context(), ring); err != nil {
				t.Fatal(err)
			}
		}
	}
	publish(t, gb, "b1")
	eventually(t, 5*time.Second, "a sees b1 under the third set", func() bool { return va.sees("b1") }, va)

	// b misses several rotations, so that they have no key in common.
	if err := ga.SetKeys(t.Context(), keys(10, 11, 12)); err != nil {
		t.Fatal(err)
	}
	publish(t, ga, "a1", "a2")
	eventually(t, 30*time.Second, "they lose each other", func() bool { return vb.sees() }, vb)
	if err := gb.SetKeys(t.Context(), keys(10, 11, 12)); err != nil {
		t.Fatal(err)
	}
	d := eventually(t, 30*time.Second, "they find each other", func() bool { return vb.sees("a1", "a2") && va.sees("b1") }, va, vb)
	t.Logf("found again %v after the missed keys came", d)

	if err := gb.SetKeys(t.Context(), nil); !errdefs.IsInvalidArgument(err) {
		t.Errorf("no keys: %v", err)
	}
	_, vc := startGossip(t, addr(t, "127.3.0.3"), func(c *Config) { c.Keys = keys(20, 21, 22) }, a)
	eventually(t, 10*time.Second, "a stranger gets its own view", func() bool { return vc.whole() }, vc)
	if !vc.sees() {
		t.Errorf("a stranger sees %v", vc)
	}
}

func TestPortInUse(t *testing.T) {
	t.Parallel()
	for proto, listen := range map[string]func(string) (interface{ Close() error }, error){
		"tcp": func(a string) (interface{ Close() error }, error) { return net.Listen("tcp", a) },
		"udp": func(a string) (interface{ Close() error }, error) { return net.ListenPacket("udp", a) },
	} {
		l, err := listen("127.4.0.1:7946")
		if err != nil {
			t.Fatal(err)
		}
		a := addr(t, "127.4.0.1")
		cfg := Config{
			Hostname: "h", BindAddr: a, AdvertiseAddr: a, Port: 7946, Keys: keys(1), Store: dirStore(t.TempDir()),
			Seeds: func() []netip.Addr { return nil }, Log: discard(), Now: time.Now,
		}
		_, err = Start(t.Context(), cfg)
		if !errdefs.IsConflict(err) || !strings.Contains(err.Error(), "7946/"+proto) {
			t.Errorf("%s taken: %v", proto, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*Config){
		"no address":      func(c *Config) { c.AdvertiseAddr = netip.Addr{} },
		"foreign address": func(c *Config) { c.BindAddr = netip.MustParseAddr("203.0.113.7") },
		"port":            func(c *Config) { c.Port = 70000 },
		"no keys":         func(c *Config) { c.Keys = nil },
	} {
		cfg := Config{
			Hostname: "h", AdvertiseAddr: addr(t, "127.5.0.1"), BindAddr: addr(t, "127.5.0.1"), Port: 7946, Keys: keys(1),
			Store: dirStore(t.TempDir()), Seeds: func() []netip.Addr { return nil }, Log: discard(), Now: time.Now,
		}
		spoil(&cfg)
		if _, err := Start(t.Context(), cfg); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNetworksAreJoinedOnce(t *testing.T) {
	t.Parallel()
	g, _ := startGossip(t, addr(t, "127.6.0.1"), nil)
	ctx := t.Context()
	if err := g.JoinNetwork(ctx, testNet, Handler{}); !errdefs.IsConflict(err) {
		t.Errorf("joined twice: %v", err)
	}
	if err := g.JoinNetwork(ctx, "a/b", Handler{}); !errdefs.IsInvalidArgument(err) {
		t.Errorf("bad ID: %v", err)
	}
	if err := g.Publish(ctx, "other", testEndpoint("e", g.cfg.AdvertiseAddr, 0), vtepOf(g.cfg.AdvertiseAddr)); !errdefs.IsNotFound(err) {
		t.Errorf("published on a network not joined: %v", err)
	}
	if err := g.LeaveNetwork(ctx, "other"); err != nil {
		t.Errorf("left without joining: %v", err)
	}
	for range 3 { // at once, before the feed has done anything
		if err := g.LeaveNetwork(ctx, testNet); err != nil {
			t.Error(err)
		}
		if err := g.JoinNetwork(ctx, testNet, Handler{}); err != nil {
			t.Error(err)
		}
	}
	publish(t, g, "e1")
	eventually(t, 5*time.Second, "published after all that", func() bool { return len(g.Records(testNet)) == 1 })
}

func TestBadRowsOfOthersAreDropped(t *testing.T) {
	t.Parallel()
	a, b := addr(t, "127.7.0.1"), addr(t, "127.7.0.2")
	ga, _ := startGossip(t, a, nil)
	gb, vb := startGossip(t, b, nil, a)
	publish(t, ga, "good")
	publish(t, gb, "mine")
	eventually(t, 10*time.Second, "the good one arrives", func() bool { return vb.sees("good") }, vb)

	db := ga.current().db // now a misbehaves
	for key, value := range map[string][]byte{
		"junk":  []byte("\xff\xff\xff"),
		"empty": {},
		"vtep":  peerRow("10.0.0.1/24", "02:42:0a:00:00:01", "127.0.0.1"),
		"ours":  peerRow("10.0.0.1/24", "02:42:0a:00:00:01", vtepOf(b).String()),
	} {
		if err := db.CreateEntry(peerTable, testNet, key, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.UpdateEntry(peerTable, testNet, "good", []byte("not any more")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "four bad rows, the good one turned", func() bool { return gb.Stats().BadRows >= 4 && vb.sees() }, vb)

	// It takes over a row of b, which b takes back.
	ours, err := encode(testEndpoint("good", a, 0), vtepOf(a))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "a has b's row", func() bool { _, err := db.GetEntry(recordTable, testNet, "mine"); return err == nil })
	if err := db.UpdateEntry(recordTable, testNet, "mine", ours.Record); err != nil {
		t.Fatal(err)
	}
	if err := db.DeleteEntry(peerTable, testNet, "mine"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "b's rows are b's again", func() bool {
		r, err1 := db.GetEntry(recordTable, testNet, "mine")
		_, err2 := db.GetEntry(peerTable, testNet, "mine")
		return err1 == nil && err2 == nil && strings.Contains(string(r), "name-mine") && vb.hears("mine")
	}, vb)
}

func TestCloseHeedsItsContext(t *testing.T) {
	t.Parallel()
	g, _ := startGossip(t, addr(t, "127.8.0.1"), nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Close(ctx); err == nil {
		t.Log("closed faster than it could look")
	}
	if err := g.Close(t.Context()); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if g.Healthy() || g.Members() != nil || g.NetworkPeers(testNet) != nil {
		t.Error("a closed gossip has members")
	}
}

func TestSeedsArrivingLateAreFound(t *testing.T) {
	t.Parallel()
	a, b := addr(t, "127.9.0.1"), addr(t, "127.9.0.2")
	ga, va := startGossip(t, a, nil, b) // b is not there yet
	publish(t, ga, "a1")
	eventually(t, 10*time.Second, "a goes on alone", func() bool { return va.whole() && va.hears("a1") }, va)
	if !va.early() {
		t.Error("the first view was called whole though b had no time to speak")
	}
	if ga.Healthy() {
		t.Error("a is healthy without its manager")
	}
	gb, vb := startGossip(t, b, nil)
	publish(t, gb, "b1")
	d := eventually(t, 20*time.Second, "they meet", func() bool { return va.sees("b1") && vb.sees("a1") && ga.Healthy() }, va, vb)
	t.Logf("met after %v", d)
}

// TestTwoRowsForOneAddress has an endpoint move: the new row comes before the
// old one goes, and must be told again after that.
func TestTwoRowsForOneAddress(t *testing.T) {
	t.Parallel()
	a, b := addr(t, "127.10.0.1"), addr(t, "127.10.0.2")
	ga, _ := startGossip(t, a, nil)
	_, vb := startGossip(t, b, nil, a)
	ep := testEndpoint("old", a, 0)
	moved := ep
	moved.ID = "new"
	for _, e := range []model.Endpoint{ep, moved} {
		if err := ga.Publish(t.Context(), testNet, e, vtepOf(a)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, 10*time.Second, "b has both rows", func() bool { return vb.sees("old", "new") }, vb)
	vb.mu.Lock()
	vb.log = nil
	vb.mu.Unlock()
	if err := ga.Unpublish(t.Context(), testNet, "old"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the old row is gone", func() bool { return vb.sees("new") }, vb)
	vb.mu.Lock()
	defer vb.mu.Unlock()
	if len(vb.log) != 2 || !vb.log[0].Delete || vb.log[0].Peer.EndpointID != "old" || vb.log[1].Delete || vb.log[1].Peer.EndpointID != "new" {
		t.Errorf("told: %+v", vb.log)
	}
}
