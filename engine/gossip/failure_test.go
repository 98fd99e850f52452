package gossip

import (
	"net/netip"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/docker/docker/libnetwork/networkdb"
)

// TestRestartAfterCrash kills a node and starts it again on its state: its
// peers must not lose the rows that are published again, and must lose those
// that are not.
func TestRestartAfterCrash(t *testing.T) {
	t.Parallel()
	a, b := addr(t, "127.11.0.1"), addr(t, "127.11.0.2")
	dir := t.TempDir()
	_, va := startGossip(t, a, nil)
	child := startNode(t, nodeConfig{Addr: b, Seeds: []netip.Addr{a}, Dir: dir, Endpoints: []string{"kept", "lost"}})
	eventually(t, 10*time.Second, "a sees b", func() bool { return va.sees("kept", "lost") }, va)
	child.kill()

	gb, vb := startGossip(t, b, func(c *Config) { c.Store = dirStore(dir) }, a)
	publish(t, gb, "kept", "new")
	d := eventually(t, 10*time.Second, "a sees the new row", func() bool { return slices.Contains(va.ids(), "new") }, va)
	t.Logf("a sees the restarted node's new row after %v", d)
	d = eventually(t, 10*time.Second, "a sees what b has", func() bool { return va.sees("kept", "new") }, va)
	t.Logf("the row of the crashed run was withdrawn after %v", d)
	if _, deleted := va.told(); slices.Contains(deleted, "kept") {
		t.Errorf("a lost the kept row for a while: %v", va)
	}
	if !vb.sees() || gb.Stats().Heals != 0 || !gb.Healthy() {
		t.Errorf("b: %v, %+v, healthy %v", vb, gb.Stats(), gb.Healthy())
	}
	// What b publishes, changes and withdraws counts, though its clock was set back.
	if err := gb.Unpublish(t.Context(), testNet, "kept"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the kept row goes when asked", func() bool { return va.sees("new") }, va)
}

// TestRestartFindsPeersWithoutManagers starts a crashed sole manager again:
// only its saved peers tell it where the others are.
func TestRestartFindsPeersWithoutManagers(t *testing.T) {
	t.Parallel()
	a, b := addr(t, "127.12.0.1"), addr(t, "127.12.0.2")
	dir := t.TempDir()
	child := startNode(t, nodeConfig{Addr: a, Dir: dir, Endpoints: []string{"a1"}})
	_, vb := startGossip(t, b, nil, a)
	eventually(t, 10*time.Second, "b sees a", func() bool { return vb.sees("a1") }, vb)
	eventually(t, 10*time.Second, "a saves its peer", func() bool {
		st, err := loadState(dirStore(dir))
		return err == nil && slices.Contains(st.Peers, b)
	})
	child.kill()
	ga, va := startGossip(t, a, func(c *Config) { c.Store = dirStore(dir) }, a)
	publish(t, ga, "a1", "a2")
	eventually(t, 10*time.Second, "b sees both", func() bool { return vb.sees("a1", "a2") }, vb)
	if !vb.first() || len(ga.Members()) != 2 {
		t.Errorf("b: %v; a: %v, members %v", vb, va, ga.Members())
	}
}

// TestTrapIsLeft starts a node whose state was lost where another was killed:
// networkdb takes it for gone (purgeReincarnation).
func TestTrapIsLeft(t *testing.T) {
	t.Parallel()
	a, b, c := addr(t, "127.13.0.1"), addr(t, "127.13.0.2"), addr(t, "127.13.0.3")
	_, va := startGossip(t, a, nil, c)
	_, vc := startGossip(t, c, nil, a)
	child := startNode(t, nodeConfig{Addr: b, Seeds: []netip.Addr{a, c}, Dir: t.TempDir(), Endpoints: []string{"ghost", "b1"}})
	eventually(t, 10*time.Second, "both see b", func() bool { return va.sees("ghost", "b1") && vc.sees("ghost", "b1") }, va, vc)
	child.kill()

	gb, vb := startGossip(t, b, nil, a, c)
	publish(t, gb, "b1", "b2")
	d := eventually(t, 60*time.Second, "it is noticed", func() bool { return gb.Stats().Heals > 0 })
	t.Logf("trapped and noticed after %v", d)
	d = eventually(t, 60*time.Second, "all is well", func() bool {
		return gb.Healthy() && len(gb.Members()) == 3 && va.sees("b1", "b2") && vc.sees("b1", "b2") && vb.sees()
	}, va, vb, vc)
	t.Logf("healed after %v more, %d sessions replaced; b: %v", d, gb.Stats().Heals, vb)
	if vb.early() {
		t.Errorf("b was not told the whole first: %v", vb)
	}
}

// TestTrapWhileRunning has a ghost appear at the address of a node that runs.
func TestTrapWhileRunning(t *testing.T) {
	t.Parallel()
	a, b, elsewhere := addr(t, "127.17.0.1"), addr(t, "127.17.0.2"), addr(t, "127.17.0.9")
	ga, va := startGossip(t, a, nil)
	gb, vb := startGossip(t, b, nil, a)
	publish(t, ga, "a1")
	publish(t, gb, "b1")
	eventually(t, 10*time.Second, "they see each other", func() bool { return va.sees("b1") && vb.sees("a1") }, va, vb)

	ring, err := ring(keys(1, 2, 3))
	if err != nil {
		t.Fatal(err)
	}
	cfg := ga.cfg
	cfg.BindAddr, cfg.AdvertiseAddr = elsewhere, b
	ghost, err := networkdb.New(cfg.networkDB("ghost", ring))
	if err != nil {
		t.Fatal(err)
	}
	_ = ghost.Join([]string{a.String() + ":7946"}) // b will object to its address, but too late
	eventually(t, 10*time.Second, "b is trapped", func() bool { return gb.Stats().Heals > 0 })
	ghost.Close()
	publish(t, gb, "b1", "b2") // at any time
	d := eventually(t, 60*time.Second, "all is well", func() bool {
		return gb.Healthy() && len(gb.Members()) == 2 && va.sees("b1", "b2") && vb.sees("a1") && vb.hears("a1", "b1", "b2")
	}, va, vb)
	t.Logf("healed after %v, %d sessions replaced", d, gb.Stats().Heals)
	if fulls, deleted := vb.told(); fulls < 2 || len(deleted) > 0 {
		t.Errorf("b was not told the whole again, or lost a1 meanwhile: %v", vb)
	}
}

// TestDeadHost measures how long the rows of a killed node stay.
func TestDeadHost(t *testing.T) {
	t.Parallel()
	a, b, c := addr(t, "127.14.0.1"), addr(t, "127.14.0.2"), addr(t, "127.14.0.3")
	ga, va := startGossip(t, a, nil)
	_, vb := startGossip(t, b, nil, a)
	child := startNode(t, nodeConfig{Addr: c, Seeds: []netip.Addr{a}, Dir: t.TempDir(), Endpoints: []string{"c1", "c2"}})
	eventually(t, 10*time.Second, "both see c", func() bool { return va.sees("c1", "c2") && vb.sees("c1", "c2") }, va, vb)
	child.kill()
	d := eventually(t, 30*time.Second, "c is forgotten", func() bool { return va.sees() && vb.sees() && len(ga.Members()) == 2 }, va, vb)
	t.Logf("rows of a dead host gone after %v", d)
}

// TestPausedNode stops a node for so long that it is taken for dead.
func TestPausedNode(t *testing.T) {
	t.Parallel()
	a, b := addr(t, "127.15.0.1"), addr(t, "127.15.0.2")
	_, va := startGossip(t, a, nil)
	child := startNode(t, nodeConfig{Addr: b, Seeds: []netip.Addr{a}, Dir: t.TempDir(), Endpoints: []string{"b1"}})
	eventually(t, 10*time.Second, "a sees b", func() bool { return va.sees("b1") }, va)
	child.signal(t, syscall.SIGSTOP)
	eventually(t, 30*time.Second, "b is taken for dead", func() bool { return va.sees() }, va)
	child.signal(t, syscall.SIGCONT)
	d := eventually(t, 15*time.Second, "b is back", func() bool { return va.sees("b1") }, va)
	t.Logf("rows of a paused node back after %v", d)
}

// TestPartition cuts two nodes apart until each takes the other for dead. It
// has a port of its own, which the cut concerns.
func TestPartition(t *testing.T) {
	t.Parallel()
	a, b := addr(t, "127.16.0.1"), addr(t, "127.16.0.2")
	port := func(c *Config) { c.Port = 7947 }
	ga, va := startGossip(t, a, port, b)
	gb, vb := startGossip(t, b, port, a)
	publish(t, ga, "a1")
	publish(t, gb, "b1")
	eventually(t, 10*time.Second, "they see each other", func() bool { return va.sees("b1") && vb.sees("a1") }, va, vb)
	nft(t, "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in meta l4proto { tcp, udp } th dport 7947 drop")
	d := eventually(t, 30*time.Second, "they lose each other", func() bool { return va.sees() && vb.sees() }, va, vb)
	t.Logf("apart after %v", d)
	if err := ga.Unpublish(t.Context(), testNet, "a1"); err != nil {
		t.Fatal(err)
	}
	publish(t, gb, "b1", "b2")
	nft(t, "delete table inet cut")
	d = eventually(t, 30*time.Second, "they see what is there now", func() bool { return va.sees("b1", "b2") && vb.sees() && ga.Healthy() && gb.Healthy() }, va, vb)
	t.Logf("together after %v", d)
}

func nft(t *testing.T, rules string) {
	t.Helper()
	if out, err := exec.Command("nft", rules).CombinedOutput(); err != nil {
		t.Fatalf("nft %s: %v: %s", rules, err, out)
	}
}
