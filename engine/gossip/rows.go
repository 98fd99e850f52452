package gossip

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"

	"weft/engine/fault"
	"weft/engine/gossip/record"
	"weft/engine/model"
)

// The tables, as dockerd names them (libnetwork/agent.go,
// libnetwork/drivers/overlay/overlay.go).
const (
	peerTable   = "overlay_peer_table"
	recordTable = "endpoint_table"
	// heardTable is this engine's own: which leaving endpoints a node does not
	// send anything new any more. Docker's daemons pass it on.
	heardTable = "weft_heard_table"
	// reportTable is, too: how a node fares with the published ports.
	reportTable = "weft_mesh_table"
)

// What a row may hold at most. Docker sets no limits; a name is at most a DNS
// name, and no service has that many aliases.
const (
	maxRowBytes  = 64 << 10
	maxKeyBytes  = 128
	maxNameBytes = 255
	maxNames     = 512
)

// noVIP is what dockerd writes for no address: Go's text of a nil net.IP.
const noVIP = "<nil>"

// errRow is any reason a row of another node is not used.
var errRow = errors.New("bad row")

func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errRow, fmt.Sprintf(format, args...))
}

// row is what we publish for one endpoint, encoded.
type row struct {
	Peer   []byte `json:"peer"`
	Record []byte `json:"record,omitempty"` // nil for an endpoint without a name, or one not ready
	// A node's own row has a table to be in, and is nothing else.
	Table string `json:"table,omitempty"`
	Value []byte `json:"value,omitempty"`
	vtep  netip.Addr
}

// encode gives the rows of ep behind vtep. It decodes them again, so that we
// never send what we would not accept.
func encode(ep model.Endpoint, vtep netip.Addr) (row, error) {
	r := row{vtep: vtep.Unmap()}
	var err error
	r.Peer, err = marshal(&record.PeerRecord{
		EndpointIp: ep.Addr.String(), EndpointMac: ep.MAC.String(), TunnelEndpointIp: r.vtep.String(),
	})
	if err != nil {
		return row{}, err
	}
	if _, err := parsePeer(ep.ID, r.Peer); err != nil {
		return row{}, fault.Invalid("publish endpoint %s: %w", ep.ID, err)
	}
	if ep.Name == "" || ep.Readiness == model.Pending {
		return r, nil
	}
	vip := noVIP
	if ep.VIP.IsValid() {
		vip = ep.VIP.String()
	}
	r.Record, err = marshal(&record.EndpointRecord{
		Name: ep.Name, ServiceName: ep.ServiceName, ServiceId: ep.ServiceID, VirtualIp: vip,
		EndpointIp: ep.Addr.Addr().String(), Aliases: ep.Aliases, TaskAliases: ep.TaskAliases,
		IngressPorts: encodePorts(ep.Ingress), ServiceDisabled: ep.Readiness == model.Draining, Mesh: encodeMesh(ep.Mesh),
	})
	if err != nil {
		return row{}, err
	}
	if _, err := decodeRecord(ep.ID, r.Record); err != nil {
		return row{}, fault.Invalid("publish endpoint %s: %w", ep.ID, err)
	}
	return r, nil
}

func marshal(m proto.Message) ([]byte, error) {
	raw, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return nil, fault.Invalid("encode gossip row: %w", err)
	}
	return raw, nil
}

// decodePeer reads and checks another node's row of the peer table.
func decodePeer(key string, value []byte) (model.Peer, error) {
	p, err := parsePeer(key, value)
	if err == nil && p.VTEP.IsLoopback() {
		return model.Peer{}, bad("VTEP %s is no host's", p.VTEP)
	}
	return p, err
}

// parsePeer reads a row that may be this node's, whose VTEP in a swarm of one
// may be a loopback address.
func parsePeer(key string, value []byte) (model.Peer, error) {
	var m record.PeerRecord
	if err := unmarshal(key, value, &m); err != nil {
		return model.Peer{}, err
	}
	addr, err := netip.ParsePrefix(m.EndpointIp)
	if err != nil {
		return model.Peer{}, bad("endpoint address %q", m.EndpointIp)
	}
	if !hostAddr(addr.Addr()) || addr.Addr().IsLoopback() || addr.Addr().Is4In6() || addr.Bits() == 0 {
		return model.Peer{}, bad("endpoint address %s is no host's", addr)
	}
	mac, err := model.ParseMAC(m.EndpointMac)
	if err != nil {
		return model.Peer{}, bad("MAC %q", m.EndpointMac)
	}
	if mac[0]&1 != 0 || mac == (model.MAC{}) {
		return model.Peer{}, bad("MAC %s is no station's", mac)
	}
	vtep, err := netip.ParseAddr(m.TunnelEndpointIp)
	if err != nil {
		return model.Peer{}, bad("VTEP %q", m.TunnelEndpointIp)
	}
	if vtep = vtep.Unmap(); !hostAddr(vtep) {
		return model.Peer{}, bad("VTEP %s is no host's", vtep)
	}
	return model.Peer{EndpointID: key, Addr: addr, MAC: mac, VTEP: vtep}, nil
}

// decodeRecord reads and checks a row of the endpoint table.
func decodeRecord(key string, value []byte) (model.Record, error) {
	var m record.EndpointRecord
	if err := unmarshal(key, value, &m); err != nil {
		return model.Record{}, err
	}
	addr, err := netip.ParseAddr(m.EndpointIp)
	if err != nil {
		return model.Record{}, bad("address %q", m.EndpointIp)
	}
	if addr = addr.Unmap(); !hostAddr(addr) || addr.IsLoopback() {
		return model.Record{}, bad("address %s is no host's", addr)
	}
	vip, err := decodeVIP(m.VirtualIp)
	if err != nil {
		return model.Record{}, err
	}
	if len(m.Aliases)+len(m.TaskAliases) > maxNames {
		return model.Record{}, bad("%d aliases", len(m.Aliases)+len(m.TaskAliases))
	}
	if m.Name == "" {
		return model.Record{}, bad("no name")
	}
	for _, names := range [][]string{{m.Name, m.ServiceName, m.ServiceId}, m.Aliases, m.TaskAliases} {
		for _, n := range names {
			if !printable(n) {
				return model.Record{}, bad("name %.40q", n)
			}
		}
	}
	ports, err := decodePorts(m.IngressPorts)
	if err != nil {
		return model.Record{}, err
	}
	mesh, err := decodeMesh(m.Mesh)
	if err != nil {
		return model.Record{}, err
	}
	return model.Record{
		EndpointID: key, Name: m.Name, ServiceName: m.ServiceName, ServiceID: m.ServiceId, VIP: vip, Addr: addr,
		Aliases: m.Aliases, TaskAliases: m.TaskAliases, Disabled: m.ServiceDisabled, Ingress: ports, Mesh: mesh,
	}, nil
}

func decodeVIP(s string) (netip.Addr, error) {
	if s == "" || s == noVIP {
		return netip.Addr{}, nil
	}
	vip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}, bad("VIP %q", s)
	}
	if vip = vip.Unmap(); !hostAddr(vip) || vip.IsLoopback() {
		return netip.Addr{}, bad("VIP %s is no host's", vip)
	}
	return vip, nil
}

func unmarshal(key string, value []byte, m proto.Message) error {
	if !goodKey(key) {
		return bad("key %.40q", key)
	}
	if len(value) > maxRowBytes {
		return bad("%d bytes", len(value))
	}
	if err := proto.Unmarshal(value, m); err != nil {
		return bad("%v", err)
	}
	return nil
}

// hostAddr reports whether a can be the address of one host.
func hostAddr(a netip.Addr) bool {
	return a.IsValid() && a.Zone() == "" && !a.IsUnspecified() && !a.IsMulticast() &&
		a != netip.AddrFrom4([4]byte{255, 255, 255, 255}) && !(a.Is6() && a.IsLinkLocalUnicast())
}

// goodKey reports whether key can be an endpoint ID. networkdb joins keys by
// slashes, so one with a slash would be taken for another.
func goodKey(key string) bool {
	return key != "" && len(key) <= maxKeyBytes && strings.IndexFunc(key, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '-' && r != '_' && r != '.'
	}) < 0
}

// printable reports whether s may be shown and looked up as a name.
func printable(s string) bool {
	return len(s) <= maxNameBytes && utf8.ValidString(s) &&
		strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || (r >= 0x80 && r < 0xa0) }) < 0
}
