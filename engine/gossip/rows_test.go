package gossip

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"weft/engine/gossip/record"
	"weft/engine/model"
)

// What docker v28.5.2's own generated types (libnetwork/agent.pb.go and
// libnetwork/drivers/overlay/overlay.pb.go) make of these rows.
const (
	dockerPeer       = "0a0b31302e302e312e352f3234121130323a34323a30613a30303a30313a30351a093139322e302e322e31"
	dockerTask       = "0a097765622e312e61626312037765621a0473766331220831302e302e312e322a0831302e302e312e353a037777773a0177420c303132333435363738396162"
	dockerStandalone = "0a02633122053c6e696c3e2a0831302e302e312e35420c303132333435363738396162"
	dockerIngress    = "0a097765622e312e61626312037765621a0473766331220831302e302e302e322a0831302e302e302e35320d0a04687474701001185020903f4801"
)

func task() model.Endpoint {
	return model.Endpoint{
		ID: "e1", Name: "web.1.abc", Addr: netip.MustParsePrefix("10.0.1.5/24"),
		MAC:       model.MACFromAddr(netip.MustParseAddr("10.0.1.5")),
		ServiceID: "svc1", ServiceName: "web", VIP: netip.MustParseAddr("10.0.1.2"),
		Aliases: []string{"www", "w"}, TaskAliases: []string{"0123456789ab"},
	}
}

func standalone() model.Endpoint {
	ep := task()
	ep.Name, ep.ServiceID, ep.ServiceName, ep.VIP, ep.Aliases = "c1", "", "", netip.Addr{}, nil
	return ep
}

func TestRowsAreDockers(t *testing.T) {
	vtep := netip.MustParseAddr("192.0.2.1")
	for name, tc := range map[string]struct {
		ep     model.Endpoint
		record string
	}{
		"task":          {task(), dockerTask},
		"standalone":    {standalone(), dockerStandalone},
		"load balancer": {model.Endpoint{ID: "e1", Addr: task().Addr, MAC: task().MAC}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := encode(tc.ep, vtep)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(dockerPeer, hex.EncodeToString(r.Peer)); d != "" {
				t.Errorf("peer row (-docker +ours):\n%s", d)
			}
			if d := cmp.Diff(tc.record, hex.EncodeToString(r.Record)); d != "" {
				t.Errorf("endpoint row (-docker +ours):\n%s", d)
			}
		})
	}
}

func TestDockersRowsAreUnderstood(t *testing.T) {
	raw := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	p, err := decodePeer("e1", raw(dockerPeer))
	want := model.Peer{EndpointID: "e1", Addr: task().Addr, MAC: task().MAC, VTEP: netip.MustParseAddr("192.0.2.1")}
	if err != nil || p != want {
		t.Errorf("peer = %+v, %v", p, err)
	}
	same := cmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	for row, want := range map[string]model.Record{
		dockerTask: {
			EndpointID: "e1", Name: "web.1.abc", ServiceName: "web", ServiceID: "svc1", VIP: task().VIP,
			Addr: task().Addr.Addr(), Aliases: []string{"www", "w"}, TaskAliases: []string{"0123456789ab"},
		},
		dockerStandalone: {EndpointID: "e1", Name: "c1", Addr: task().Addr.Addr(), TaskAliases: []string{"0123456789ab"}},
		dockerIngress: {
			EndpointID: "e1", Name: "web.1.abc", ServiceName: "web", ServiceID: "svc1",
			VIP: netip.MustParseAddr("10.0.0.2"), Addr: netip.MustParseAddr("10.0.0.5"), Disabled: true,
			Ingress: []model.IngressPort{{Name: "http", Proto: "udp", Target: 80, Published: 8080}},
		},
	} {
		r, err := decodeRecord("e1", raw(row))
		if d := cmp.Diff(want, r, same); err != nil || d != "" {
			t.Errorf("record: %v (-want +got):\n%s", err, d)
		}
	}
}

func peerRow(addr, mac, vtep string) []byte {
	b, err := proto.Marshal(&record.PeerRecord{EndpointIp: addr, EndpointMac: mac, TunnelEndpointIp: vtep})
	if err != nil {
		panic(err)
	}
	return b
}

func TestBadPeersAreRefused(t *testing.T) {
	const addr, mac, vtep = "10.0.1.5/24", "02:42:0a:00:01:05", "192.0.2.1"
	if _, err := decodePeer("e1", peerRow(addr, mac, vtep)); err != nil {
		t.Fatalf("the good row: %v", err)
	}
	for name, tc := range map[string]struct {
		key   string
		value []byte
	}{
		"empty key":        {"", peerRow(addr, mac, vtep)},
		"slash in key":     {"a/b", peerRow(addr, mac, vtep)},
		"long key":         {strings.Repeat("a", 129), peerRow(addr, mac, vtep)},
		"empty":            {"e1", nil},
		"no protobuf":      {"e1", []byte("\xff\xff")},
		"too long":         {"e1", make([]byte, maxRowBytes+1)},
		"not UTF-8":        {"e1", []byte{0x0a, 1, 0xff}},
		"no prefix":        {"e1", peerRow("10.0.1.5", mac, vtep)},
		"no subnet":        {"e1", peerRow("10.0.1.5/0", mac, vtep)},
		"unspecified":      {"e1", peerRow("0.0.0.0/8", mac, vtep)},
		"multicast":        {"e1", peerRow("224.0.0.1/4", mac, vtep)},
		"broadcast":        {"e1", peerRow("255.255.255.255/8", mac, vtep)},
		"loopback":         {"e1", peerRow("127.0.0.1/8", mac, vtep)},
		"mapped":           {"e1", peerRow("::ffff:10.0.1.5/120", mac, vtep)},
		"MAC":              {"e1", peerRow(addr, "x", vtep)},
		"long MAC":         {"e1", peerRow(addr, "02:42:0a:00:01:05:00:00", vtep)},
		"multicast MAC":    {"e1", peerRow(addr, "01:00:5e:00:00:01", vtep)},
		"zero MAC":         {"e1", peerRow(addr, "00:00:00:00:00:00", vtep)},
		"VTEP":             {"e1", peerRow(addr, mac, "host")},
		"unspecified VTEP": {"e1", peerRow(addr, mac, "0.0.0.0")},
		"multicast VTEP":   {"e1", peerRow(addr, mac, "239.1.1.1")},
		"loopback VTEP":    {"e1", peerRow(addr, mac, "127.0.0.1")},
		"zoned VTEP":       {"e1", peerRow(addr, mac, "fe80::1%eth0")},
		"link-local VTEP":  {"e1", peerRow(addr, mac, "fe80::1")},
	} {
		if p, err := decodePeer(tc.key, tc.value); !errors.Is(err, errRow) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func TestBadRecordsAreRefused(t *testing.T) {
	good := func() *record.EndpointRecord {
		return &record.EndpointRecord{Name: "c1", EndpointIp: "10.0.1.5", VirtualIp: "<nil>"}
	}
	for name, spoil := range map[string]func(*record.EndpointRecord){
		"no name":         func(r *record.EndpointRecord) { r.Name = "" },
		"line in name":    func(r *record.EndpointRecord) { r.Name = "a\nb" },
		"escape in name":  func(r *record.EndpointRecord) { r.Name = "a\x1b[31m" },
		"long name":       func(r *record.EndpointRecord) { r.Name = strings.Repeat("a", 256) },
		"bad alias":       func(r *record.EndpointRecord) { r.Aliases = []string{"ok", "a b"} },
		"bad task alias":  func(r *record.EndpointRecord) { r.TaskAliases = []string{"\u0085"} },
		"bad service":     func(r *record.EndpointRecord) { r.ServiceName = "\x00" },
		"many aliases":    func(r *record.EndpointRecord) { r.Aliases = make([]string, maxNames+1) },
		"no address":      func(r *record.EndpointRecord) { r.EndpointIp = "" },
		"prefix":          func(r *record.EndpointRecord) { r.EndpointIp = "10.0.1.5/24" },
		"address is none": func(r *record.EndpointRecord) { r.EndpointIp = "<nil>" },
		"loopback":        func(r *record.EndpointRecord) { r.EndpointIp = "127.0.0.1" },
		"VIP":             func(r *record.EndpointRecord) { r.VirtualIp = "x" },
		"multicast VIP":   func(r *record.EndpointRecord) { r.VirtualIp = "224.0.0.1" },
	} {
		m := good()
		spoil(m)
		value, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if r, err := decodeRecord("e1", value); !errors.Is(err, errRow) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

func TestOwnRowsAreCheckedToo(t *testing.T) {
	vtep := netip.MustParseAddr("192.0.2.1")
	for name, spoil := range map[string]func(*model.Endpoint, *netip.Addr){
		"no VTEP":    func(_ *model.Endpoint, v *netip.Addr) { *v = netip.Addr{} },
		"no address": func(e *model.Endpoint, _ *netip.Addr) { e.Addr = netip.Prefix{} },
		"no MAC":     func(e *model.Endpoint, _ *netip.Addr) { e.MAC = model.MAC{} },
		"bad ID":     func(e *model.Endpoint, _ *netip.Addr) { e.ID = "a/b" },
		"bad name":   func(e *model.Endpoint, _ *netip.Addr) { e.Name = "a b" },
		"not UTF-8":  func(e *model.Endpoint, _ *netip.Addr) { e.Name = "\xff" },
	} {
		ep, v := task(), vtep
		spoil(&ep, &v)
		if _, err := encode(ep, v); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzRows feeds both decoders: what they accept they must give in a form that
// is safe to use and that survives encoding.
func FuzzRows(f *testing.F) {
	for _, s := range []string{dockerPeer, dockerTask, dockerStandalone, dockerIngress} {
		b, err := hex.DecodeString(s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add("e1", b)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		p, err := decodePeer(key, value)
		if err == nil {
			again, err := decodePeer(key, peerRow(p.Addr.String(), p.MAC.String(), p.VTEP.String()))
			if err != nil || again != p {
				t.Errorf("peer %+v becomes %+v, %v", p, again, err)
			}
		}
		r, err := decodeRecord(key, value)
		if err == nil && (!r.Addr.IsValid() || r.Name == "" || strings.ContainsAny(r.Name, "\n\x1b \x00")) {
			t.Errorf("record %+v is not safe", r)
		}
	})
}

func TestRing(t *testing.T) {
	key := func(sub string, lamport uint64, n int) model.GossipKey {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(lamport)
		}
		return model.GossipKey{Subsystem: sub, Key: b, Lamport: lamport}
	}
	for name, tc := range map[string]struct {
		keys []model.GossipKey
		want []byte // first byte of each, nil: refused
	}{
		"three of six": {[]model.GossipKey{key("networking:gossip", 5, 16), key("networking:ipsec", 4, 16), key("networking:gossip", 1, 16), key("networking:ipsec", 2, 16), key("networking:gossip", 3, 16)}, []byte{3, 1, 5}},
		"one":          {[]model.GossipKey{key("networking:gossip", 9, 32)}, []byte{9}},
		"two":          {[]model.GossipKey{key("networking:gossip", 2, 24), key("networking:gossip", 1, 24)}, []byte{2, 1}},
		"five":         {[]model.GossipKey{key("networking:gossip", 5, 16), key("networking:gossip", 4, 16), key("networking:gossip", 3, 16), key("networking:gossip", 2, 16), key("networking:gossip", 1, 16)}, []byte{2, 1, 3, 4, 5}},
		"none":         {nil, nil},
		"others only":  {[]model.GossipKey{key("networking:ipsec", 1, 16)}, nil},
		"short":        {[]model.GossipKey{key("networking:gossip", 1, 15)}, nil},
	} {
		got, err := ring(tc.keys)
		if tc.want == nil {
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
			continue
		}
		var first []byte
		for _, k := range got {
			first = append(first, k[0])
		}
		if d := cmp.Diff(tc.want, first); err != nil || d != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, d)
		}
	}
}

// FuzzReport feeds the decoder of reports: what it accepts is safe to print and
// survives encoding, shortened where it has no room.
func FuzzReport(f *testing.F) {
	f.Add([]byte(`{"DataPath":"192.0.2.1","Ports":3}`))
	f.Add([]byte(`{"DataPath":"","Ports":-1}`))
	f.Add([]byte(`{"DataPath":"192.0.2.1","Asked":{"192.0.2.2":"00000000000000ff","fe80::1%x":"1","x":""}}`))
	f.Add([]byte(`{"Problems":[{"Port":"8080/tcp","Kind":"drift","What":"a\u001b[31mb"}],"More":7}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		r, err := decodeReport(value)
		if err != nil {
			if !errors.Is(err, errRow) {
				t.Fatal(err)
			}
			return
		}
		for _, p := range r.Problems {
			if strings.ContainsFunc(p.What, func(r rune) bool { return visible(r) != r }) {
				t.Fatalf("%q", p.What)
			}
		}
		again, err := encodeReport(r)
		if err != nil || len(again) > maxReport {
			t.Fatalf("%d bytes: %v", len(again), err)
		}
		if _, err := decodeReport(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}

func TestReportHasRoom(t *testing.T) {
	r := model.MeshReport{Ports: 4, Asked: map[netip.Addr]string{}}
	for i := range model.MaxMeshQuestions {
		from := netip.MustParsePrefix("2001:db8:1111:2222:3333:4444:5555:6660/124").Addr().As16()
		from[15] += byte(i)
		r.Asked[netip.AddrFrom16(from)] = strings.Repeat("f", model.MaxMeshQuestion)
	}
	for range 40 {
		r.Problems = append(r.Problems, model.MeshProblem{Port: "8080/tcp", Kind: model.ProblemDrift, What: strings.Repeat("x", 60)})
	}
	value, err := encodeReport(r)
	if err != nil || len(value) > maxReport {
		t.Fatalf("%d bytes: %v", len(value), err)
	}
	got, err := decodeReport(value)
	if err != nil || len(got.Asked) != model.MaxMeshQuestions || len(got.Problems) == 0 || len(got.Problems)+got.More != 40 {
		t.Errorf("%d problems and %d more: %v", len(got.Problems), got.More, err)
	}
}
