package engine

import (
	"log/slog"
	"net/netip"
	"testing"

	"weft/engine/model"
)

// Whoever writes the published ports must not wait for a network that is being
// left: that waits for the records' handler, which waits for the writer.
func TestAddressesDoNotWait(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	n := newNetworks(log, nil, newDirectory(log))
	a := n.get(model.Network{ID: "n1"})
	a.mu.Lock() // as while it is left
	defer a.mu.Unlock()
	a.endpoints["e1"] = model.Endpoint{ID: "e1", Addr: netip.MustParsePrefix("10.0.0.7/24")}
	a.noteAddrs()
	if got := n.addresses("n1"); len(got) != 1 || !got[netip.MustParseAddr("10.0.0.7")] {
		t.Errorf("addresses: %v", got)
	}
	if got := n.addresses("n2"); len(got) != 0 {
		t.Errorf("addresses on a network that is not there: %v", got)
	}
}
