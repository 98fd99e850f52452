package overlay_test

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"weft/engine/model"
	"weft/engine/netnstest"
)

// TestManyAtOnce does to one driver what an engine under load does: networks,
// endpoints and rows come and go at the same time, some in one sandbox.
func TestManyAtOnce(t *testing.T) {
	n := nodes(t, 1)[0]
	shared, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, shared, "ip", "link", "set", "lo", "up")
	before := netnstest.Take(t, n.Dir, n.NS, shared)
	const networks, rounds = 4, 3
	var wg sync.WaitGroup
	for i := range networks {
		wg.Go(func() {
			nw := model.Network{ID: id(fmt.Sprintf("ab%d", i)), Name: fmt.Sprint("n", i), Subnets: []model.Subnet{subnet(fmt.Sprintf("10.%d.0.0/16", i), model.VNI(5000+i))}}
			for range rounds {
				if err := churn(t, n, nw, shared.Path()); err != nil {
					t.Errorf("network %d: %v", i, err)
				}
			}
		})
	}
	wg.Wait()
	if diff := before.Diff(netnstest.Take(t, n.Dir, n.NS, shared)); diff != "" {
		t.Errorf("left:\n%s", diff)
	}
}

func churn(t *testing.T, n *node, nw model.Network, sandbox string) error {
	ctx := t.Context()
	if err := n.driver.Ensure(ctx, nw); err != nil {
		return err
	}
	base := nw.Subnets[0].Prefix.Addr().As4()
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			addr := netip.AddrFrom4([4]byte{base[0], base[1], 1, byte(i)})
			ep, err := n.driver.Join(ctx, model.Endpoint{ID: id(fmt.Sprintf("%x", addr.As4())), NetworkID: nw.ID, Addr: netip.PrefixFrom(addr, 16), Sandbox: sandbox})
			if err == nil {
				err = n.driver.ApplyPeers(ctx, nw.ID, []model.PeerChange{{Peer: remote("ff"+fmt.Sprint(i), addr.Next().String(), "10.98.0.9")}})
			}
			if err == nil {
				err = n.driver.Ensure(ctx, nw)
			}
			_ = n.driver.Networks()
			_ = n.driver.Endpoints(nw.ID)
			if err == nil {
				err = n.driver.Leave(ctx, nw.ID, ep.ID)
			}
			if err != nil {
				t.Errorf("endpoint %s: %v", addr, err)
			}
		})
	}
	wg.Wait()
	return n.driver.Remove(ctx, nw.ID)
}
