package gossip

import (
	"math"
	"slices"
	"strings"
	"time"

	"weft/engine/gossip/record"
	"weft/engine/model"
)

// What a row may say of published ports at most.
const (
	maxPorts = 4096
	maxBinds = 64
)

func protocols() []string { return []string{"tcp", "udp", "sctp"} } // in the order of record.PortConfig_Protocol

func encodePorts(ports []model.IngressPort) []*record.PortConfig {
	var out []*record.PortConfig
	for _, p := range ports {
		out = append(out, &record.PortConfig{
			Name: p.Name, Protocol: record.PortConfig_Protocol(slices.Index(protocols(), p.Proto)), //nolint:gosec // three
			TargetPort: uint32(p.Target), PublishedPort: uint32(p.Published),
		})
	}
	return out
}

func decodePorts(list []*record.PortConfig) ([]model.IngressPort, error) {
	if len(list) > maxPorts {
		return nil, bad("%d ports", len(list))
	}
	var out []model.IngressPort
	for _, p := range list {
		proto := int(p.GetProtocol())
		if proto < 0 || proto >= len(protocols()) {
			return nil, bad("protocol %d", proto)
		}
		target, published := p.GetTargetPort(), p.GetPublishedPort()
		if target == 0 || target > math.MaxUint16 || published == 0 || published > math.MaxUint16 {
			return nil, bad("port %d at %d", target, published)
		}
		if !printable(p.GetName()) {
			return nil, bad("name %.40q", p.GetName())
		}
		out = append(out, model.IngressPort{
			Name: p.GetName(), Proto: protocols()[proto], Target: uint16(target), Published: uint16(published),
		})
	}
	return out, nil
}

func encodeMesh(m *model.Mesh) *record.Mesh {
	if m == nil {
		return nil
	}
	return &record.Mesh{
		Algorithm: m.Algorithm, Local: m.Local, Masquerade: m.Masquerade, Bind: m.Bind, Ipv6: m.IPv6, Anywhere: widen(m.Anywhere),
		IdleSeconds: uint32(min(m.Idle/time.Second, math.MaxInt32)), //nolint:gosec // bounded
	}
}

func decodeMesh(m *record.Mesh) (*model.Mesh, error) {
	if m == nil {
		return nil, nil //nolint:nilnil // absence says something
	}
	wrong := len(m.GetBind()) > maxBinds || !printable(m.GetAlgorithm()) || m.GetIdleSeconds() > math.MaxInt32 ||
		slices.ContainsFunc(m.GetBind(), func(b string) bool { return b == "" || !printable(b) || strings.ContainsAny(b, "/") })
	if wrong {
		return nil, bad("mesh %.80q", m.String())
	}
	var anywhere []uint16
	for _, port := range m.GetAnywhere() {
		if port == 0 || port > math.MaxUint16 || len(anywhere) == maxPorts {
			return nil, bad("port %d, or too many", port)
		}
		anywhere = append(anywhere, uint16(port))
	}
	return &model.Mesh{
		Algorithm: m.GetAlgorithm(), Local: m.GetLocal(), Masquerade: m.GetMasquerade(), Bind: m.GetBind(), IPv6: m.GetIpv6(), Anywhere: anywhere,
		Idle: time.Duration(m.GetIdleSeconds()) * time.Second,
	}, nil
}

func widen(ports []uint16) []uint32 {
	var out []uint32
	for _, p := range ports {
		out = append(out, uint32(p))
	}
	return out
}
