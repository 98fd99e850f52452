package weftapi

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"weft/engine/dockerapi"
	"weft/engine/fault"
	"weft/engine/model"
)

// Mesh tells of the swarm's published ports.
type Mesh interface {
	Mesh(ctx context.Context) (model.MeshStatus, error)
	MeshTrace(ctx context.Context, q model.MeshQuery) (model.MeshTrace, error)
}

func (s *server) mesh(w http.ResponseWriter, r *http.Request) error {
	status, err := s.cfg.Mesh.Mesh(r.Context())
	if err != nil {
		return err
	}
	return dockerapi.WriteJSON(w, http.StatusOK, status)
}

func (s *server) meshTrace(w http.ResponseWriter, r *http.Request) error {
	q, err := meshQuery(r.PathValue("port"), r.PathValue("proto"), r.URL.Query())
	if err != nil {
		return err
	}
	trace, err := s.cfg.Mesh.MeshTrace(r.Context(), q)
	if err != nil {
		return err
	}
	return dockerapi.WriteJSON(w, http.StatusOK, trace)
}

func meshQuery(port, proto string, query url.Values) (model.MeshQuery, error) {
	q := model.MeshQuery{Proto: proto}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return q, fault.Invalid("port %q: use a number from 1 to 65535", port)
	}
	q.Port = uint16(n)
	if !slices.Contains([]string{"tcp", "udp", "sctp"}, proto) {
		return q, fault.Invalid("protocol %q: use tcp, udp or sctp", proto)
	}
	for name, to := range map[string]*netip.Addr{"from": &q.From, "to": &q.To} {
		text := query.Get(name)
		if text == "" {
			continue
		}
		a, err := netip.ParseAddr(text)
		if err != nil {
			return q, fault.Invalid("%s=%q: use an IP address", name, text)
		}
		*to = a.Unmap()
	}
	if q.From.IsValid() && q.To.IsValid() && q.From.Is4() != q.To.Is4() {
		return q, fault.Invalid("from %s to %s: use addresses of one family", q.From, q.To)
	}
	return q, nil
}
