package peer_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
	"weft/engine/netnstest"
	"weft/engine/peer"
)

var segment = model.Segment{
	V4: model.Subnet{Prefix: netip.MustParsePrefix("10.0.0.0/8")}, V6: model.Subnet{Prefix: netip.MustParsePrefix("fd00::/64")},
}

// device makes a VXLAN device in a bridge, in a namespace of its own.
func device(tb testing.TB) (*kernel.Namespace, int) {
	tb.Helper()
	host := netnstest.Hosts(tb, 1, 0)[0]
	ns, _ := netnstest.Sandbox(tb)
	br, err := link.EnsureBridge(ns, link.Bridge{Name: "br", MTU: 1450, MAC: model.MAC{2, 2}})
	must(tb, err)
	vx, err := link.EnsureVXLAN(host.NS, ns, link.VXLAN{Name: "vx", VNI: 7, Local: host.Addr, Port: 4789, MTU: 1450, Bridge: br.Index})
	must(tb, err)
	return ns, vx.Index
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func peers(n int) []model.Peer {
	out := make([]model.Peer, n)
	for i := range out {
		a := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		out[i] = model.Peer{
			EndpointID: fmt.Sprintf("%064x", i), Addr: netip.PrefixFrom(a, 8), MAC: model.MACFromAddr(a),
			VTEP: netip.AddrFrom4([4]byte{10, 98, byte(i >> 8), byte(i)}),
		}
	}
	return out
}

func TestKernelHoldsWhatTheTableWants(t *testing.T) {
	ns, index := device(t)
	empty, err := peer.Observe(ns, index)
	must(t, err)
	table := peer.NewTable(segment)
	same := func(what string) {
		t.Helper()
		have, err := peer.Observe(ns, index)
		must(t, err)
		if diff := cmp.Diff(table.Want(), have, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
	all := peers(500)
	must(t, peer.Apply(ns, index, table.Set(all)))
	same("all")
	must(t, peer.Apply(ns, index, table.Set(all[100:])))
	same("the first hundred deleted")
	for i := range all[:200] {
		all[i].VTEP = netip.MustParseAddr("10.98.9.9")
	}
	must(t, peer.Apply(ns, index, table.Set(all)))
	same("some moved, some back")
	must(t, peer.Apply(ns, index, peer.Diff(table.Want(), table.Want())))

	// The same deletions twice, and a device that is not there.
	c := table.Set(nil)
	must(t, peer.Apply(ns, index, c))
	must(t, peer.Apply(ns, index, c))
	same("none")
	if err := peer.Apply(ns, 9999, table.Set(all[:2])); err == nil {
		t.Error("entries on no device")
	}
	have, err := peer.Observe(ns, index)
	must(t, err)
	if diff := cmp.Diff(empty, have); diff != "" {
		t.Errorf("left: %s", diff)
	}
}

// BenchmarkProgram1000Peers tells a new device of a thousand remote endpoints,
// from their rows to the kernel's last acknowledgement.
func BenchmarkProgram1000Peers(b *testing.B) {
	for name, seg := range map[string]model.Segment{"IPv4": {V4: segment.V4}, "IPv4+IPv6": segment} {
		b.Run(name, func(b *testing.B) {
			ns, index := device(b)
			rows := peers(1000)
			events := make([]model.PeerChange, len(rows))
			for i, p := range rows {
				events[i].Peer = p
			}
			var took []time.Duration
			b.ResetTimer()
			for range b.N {
				table := peer.NewTable(seg)
				begin := time.Now()
				must(b, peer.Apply(ns, index, table.Apply(events)))
				took = append(took, time.Since(begin))
				b.StopTimer()
				must(b, peer.Apply(ns, index, table.Set(nil)))
				b.StartTimer()
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms-median")
			b.ReportMetric(float64(took[0].Microseconds())/1000, "ms-best")
		})
	}
}

// BenchmarkFollowOnePeer is one event in a network of ten thousand endpoints.
func BenchmarkFollowOnePeer(b *testing.B) {
	ns, index := device(b)
	table := peer.NewTable(segment)
	rows := peers(10000)
	must(b, peer.Apply(ns, index, table.Set(rows)))
	for i := 0; b.Loop(); i++ {
		p := rows[i%len(rows)]
		p.VTEP = netip.AddrFrom4([4]byte{10, 97, byte(i >> 8), byte(i)})
		must(b, peer.Apply(ns, index, table.Apply([]model.PeerChange{{Peer: p}})))
	}
}
