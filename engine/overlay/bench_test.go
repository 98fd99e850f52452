package overlay_test

import (
	"fmt"
	"testing"
	"time"

	"weft/engine/netnstest"
)

// BenchmarkEnsure makes a network of one segment and takes it away again.
func BenchmarkEnsure(b *testing.B) {
	n := nodes(b, 1)[0]
	nw := blue()
	var removing time.Duration
	for b.Loop() {
		n.ensure(b, nw)
		begin := time.Now()
		must(b, n.driver.Remove(b.Context(), nw.ID))
		removing += time.Since(begin)
	}
	each := float64(b.N) * 1000
	b.ReportMetric(float64((b.Elapsed()-removing).Microseconds())/each, "ms/ensure")
	b.ReportMetric(float64(removing.Microseconds())/each, "ms/remove")
}

// BenchmarkJoin plugs an endpoint in and out.
func BenchmarkJoin(b *testing.B) {
	n := nodes(b, 1)[0]
	nw := blue()
	n.ensure(b, nw)
	ns, _ := netnstest.Sandbox(b)
	c := &container{ns: ns}
	var leaving time.Duration
	for b.Loop() {
		n.join(b, c, nw, "10.1.0.2")
		begin := time.Now()
		must(b, n.driver.Leave(b.Context(), nw.ID, c.ID))
		leaving += time.Since(begin)
	}
	each := float64(b.N) * 1000
	b.ReportMetric(float64((b.Elapsed()-leaving).Microseconds())/each, "ms/join")
	b.ReportMetric(float64(leaving.Microseconds())/each, "ms/leave")
}

// BenchmarkTraffic compares TCP from container to container over a network of
// ours with a VXLAN made by hand and with the bare underlay. All are measured
// in one run, in turn, and the metrics are medians of the rounds' ratios.
func BenchmarkTraffic(b *testing.B) {
	paths := rig(b)
	for _, tt := range []struct {
		name    string
		measure func(testing.TB, netnstest.Path) float64
		unit    string
	}{
		{"throughput", netnstest.Throughput, "Gbit/s"},
		{"connections", netnstest.Connections, "conn/s"},
	} {
		b.Run(tt.name, func(b *testing.B) {
			for b.Loop() {
				results := netnstest.Compare(b, paths, tt.measure)
				b.ReportMetric(netnstest.Median(results[0]), tt.unit)
				b.ReportMetric(netnstest.Ratio(results[0], results[1]), "of-hand-made")
				b.ReportMetric(netnstest.Ratio(results[0], results[2]), "of-underlay")
			}
		})
	}
}

// rig makes two hosts with the three paths between them: ours first, then the
// one made by hand, then the bare underlay.
func rig(tb testing.TB) []netnstest.Path {
	tb.Helper()
	hosts := netnstest.Hosts(tb, 2, 0)
	nw := blue()
	all := map[*node][]*container{}
	var ours []*container
	var vteps [2]netnstest.VTEP
	for i, h := range hosts {
		n := start(tb, h, h.Addr)
		n.ensure(tb, nw)
		c := n.run(tb, nw, fmt.Sprintf("10.1.0.%d", i+2))
		all[n] = []*container{c}
		ours = append(ours, c)
		vteps[i] = netnstest.VTEP{NS: h.NS, Addr: h.Addr}
	}
	introduce(tb, nw, all)
	return []netnstest.Path{
		{Name: "weft", From: ours[0].ns, To: ours[1].ns, Addr: ours[1].Addr.Addr()},
		netnstest.ByHand(tb, vteps),
		{Name: "underlay", From: hosts[0].NS, To: hosts[1].NS, Addr: hosts[1].Addr},
	}
}
