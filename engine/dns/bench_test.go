package dns_test

import (
	"fmt"
	"testing"

	mdns "github.com/miekg/dns"

	"weft/engine/dns"
	"weft/engine/model"
)

// crowd is n tasks of services of perService tasks each.
func crowd(n, perService int) []model.Record {
	list := make([]model.Record, n)
	a := addr("10.20.1.0")
	for i := range list {
		a = a.Next()
		list[i] = model.Record{
			EndpointID: fmt.Sprintf("e%d", i), Name: fmt.Sprintf("svc%d.%d.x", i/perService, i%perService), Addr: a,
			ServiceName: fmt.Sprintf("svc%d", i/perService), Aliases: []string{fmt.Sprintf("alias%d", i/perService)},
			TaskAliases: []string{fmt.Sprintf("%012x", i)},
		}
	}
	return list
}

// BenchmarkNewZone is what a change of a network's records costs.
func BenchmarkNewZone(b *testing.B) {
	for _, tt := range []struct{ records, perService int }{{5000, 10}, {5000, 5000}} {
		list := crowd(tt.records, tt.perService)
		b.Run(fmt.Sprintf("records=%d/per=%d", tt.records, tt.perService), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				dns.NewZone(overlay(), list)
			}
		})
	}
}

// BenchmarkAnswers is a question and its answer, through the sandbox's sockets.
func BenchmarkAnswers(b *testing.B) {
	up := upstream(b, many)
	zones := []*dns.Zone{dns.NewZone(overlay(), append(records(), crowd(5000, 5000)...))}
	for _, tt := range []struct {
		name, ask string
		kind      uint16
		inside    bool
	}{
		{"known", "web.", mdns.TypeA, false},
		{"5000 tasks", "svc0.", mdns.TypeA, false},
		{"forwarded from the host", "nobody.example.com.", mdns.TypeMX, false},
		{"forwarded from the sandbox", "nobody.example.com.", mdns.TypeMX, true},
	} {
		b.Run(tt.name, func(b *testing.B) {
			v := &view{zones: zones, upstreams: []dns.Upstream{up}}
			ns := start(b, v)
			if tt.inside {
				inner := upstreamIn(b, ns, many)
				v.set(nil, inner)
			}
			b.RunParallel(func(pb *testing.PB) {
				c := dial(b, ns, "udp")
				defer c.Close()
				for pb.Next() {
					exchange(b, c, question(tt.ask, tt.kind))
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "answers/s")
		})
	}
}
