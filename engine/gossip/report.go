package gossip

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"strings"

	"weft/engine/fault"
	"weft/engine/model"
)

// maxReport bounds a report, in bytes: a row that does not fit in a datagram
// of the gossip waits for the next synchronization, which takes half a minute.
const maxReport = 900

// askPrefix begins the keys of asks, which are in reportTable, too.
const askPrefix = "ask-"

// Ask has all nodes on a network look at their kernels and report anew: their
// next reports have the question.
func (g *Gossip) Ask(_ context.Context, networkID, question string) error {
	key := askPrefix + hex.EncodeToString(g.cfg.AdvertiseAddr.AsSlice())
	return g.tell(networkID, key, row{Table: reportTable, Value: []byte(question)})
}

// asks gives what the other nodes on a network have asked last.
func (n *network) asks(s *session) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for _, m := range s.members(s.db.Peers(n.id)) {
		value, err := s.db.GetEntry(reportTable, n.id, askPrefix+hex.EncodeToString(m.Addr.AsSlice()))
		if err != nil || m.Self {
			continue
		}
		if len(value) > model.MaxMeshQuestion || !printable(string(value)) {
			s.g.badRows.Add(1)
			continue
		}
		out[m.Addr] = string(value)
	}
	return out
}

// reportKey is where a node's row of reportTable is.
func reportKey(node netip.Addr) string { return "mesh-" + hex.EncodeToString(node.AsSlice()) }

// Report tells the peers how this node fares with the published ports. Of more
// problems than a row holds the first are told, and that there are more.
func (g *Gossip) Report(_ context.Context, networkID string, r model.MeshReport) error {
	value, err := encodeReport(r)
	if err != nil {
		return err
	}
	return g.tell(networkID, reportKey(g.cfg.AdvertiseAddr), row{Table: reportTable, Value: value})
}

func encodeReport(r model.MeshReport) ([]byte, error) {
	for {
		value, err := json.Marshal(r)
		if err != nil {
			return nil, fault.Internal("encode mesh report: %w", err)
		}
		if len(value) <= maxReport || len(r.Problems) == 0 {
			return value, nil
		}
		r.Problems = r.Problems[:len(r.Problems)-1]
		r.More++
	}
}

// Reports gives what the nodes on a network have told last, by their address.
// Those that say nothing, as Docker's do, are not in it.
func (g *Gossip) Reports(networkID string) map[netip.Addr]model.MeshReport {
	s := g.current()
	if s == nil {
		return nil
	}
	out := map[netip.Addr]model.MeshReport{}
	for _, m := range s.members(s.db.Peers(networkID)) {
		value, err := s.db.GetEntry(reportTable, networkID, reportKey(m.Addr))
		if err != nil {
			continue
		}
		r, err := decodeReport(value)
		if err != nil {
			g.badRows.Add(1)
			continue
		}
		out[m.Addr] = r
	}
	return out
}

// decodeReport reads and checks another node's report.
func decodeReport(value []byte) (model.MeshReport, error) {
	var r model.MeshReport
	if len(value) > maxRowBytes {
		return r, bad("%d bytes", len(value))
	}
	if err := json.Unmarshal(value, &r); err != nil {
		return r, bad("%v", err)
	}
	if r.DataPath.Zone() != "" || r.Ports < 0 || r.More < 0 || r.Mended < 0 {
		return r, bad("data path %s, or counts below zero", r.DataPath)
	}
	if len(r.Asked) > model.MaxMeshQuestions {
		return r, bad("%d questions", len(r.Asked))
	}
	for from, q := range r.Asked {
		if from.Zone() != "" || len(q) > model.MaxMeshQuestion || !printable(q) {
			return r, bad("question %.40q", q)
		}
	}
	for i, p := range r.Problems {
		if !printable(p.Port) || !printable(p.Kind) {
			return r, bad("problem %.40q", p)
		}
		r.Problems[i].What = strings.Map(visible, p.What)
	}
	return r, nil
}

// visible keeps what other nodes write off a terminal's controls.
func visible(r rune) rune {
	if r < ' ' || (r >= 0x7f && r < 0xa0) {
		return ' '
	}
	return r
}
