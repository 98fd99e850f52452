package cluster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"

	"weft/wizard/flows/ingress"
)

// RequestTimeout is how long a manager usually may take for one answer: more
// than it needs to find out that it has lost its quorum.
const RequestTimeout = 30 * time.Second

// Doer sends a request to an engine and gives its JSON. *cmdenv.Raw is one.
type Doer interface {
	Do(ctx context.Context, method, route string, query url.Values, body any) ([]byte, error)
}

// Manager is a swarm by one of its managers.
type Manager struct {
	API     Doer
	Timeout time.Duration // for one answer
}

func (m *Manager) get(ctx context.Context, route string, query url.Values, into any) error {
	text, err := m.do(ctx, http.MethodGet, route, query, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return fmt.Errorf("read answer to GET %s: %w", route, err)
	}
	return nil
}

func (m *Manager) do(ctx context.Context, method, route string, query url.Values, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	return m.API.Do(ctx, method, route, query, body)
}

// Observe is part of ingress.Observer.
func (m *Manager) Observe(ctx context.Context) (ingress.World, error) {
	var w ingress.World
	var info system.Info
	if err := m.get(ctx, "info", nil, &info); err != nil {
		return w, err
	}
	w.Manager = info.Swarm.ControlAvailable
	if info.Swarm.Cluster != nil {
		w.Cluster = info.Swarm.Cluster.ID
		w.Pools = info.Swarm.Cluster.DefaultAddrPool
	}
	w.BridgePools = bridgePools(&info)
	if !w.Manager {
		return w, nil
	}
	var err error
	if w.Nodes, err = m.nodes(ctx); err != nil {
		return w, err
	}
	w.Quorum = quorum(w.Nodes)
	if err := m.networks(ctx, &w); err != nil {
		return w, err
	}
	if w.Services, err = m.services(ctx); err != nil {
		return w, err
	}
	w.Tasks, err = m.tasks(ctx)
	return w, err
}

// bridgePools gives the pools from which a daemon takes subnets for bridge
// networks. One that is set to none has those of libnetwork (ipamutils,
// PredefinedLocalScopeDefaultNetworks).
func bridgePools(info *system.Info) []string {
	var list []string
	for _, p := range info.DefaultAddressPools {
		list = append(list, p.Base)
	}
	if list == nil {
		list = []string{"172.17.0.0/16", "172.18.0.0/16", "172.19.0.0/16", "172.20.0.0/14", "172.24.0.0/14", "172.28.0.0/14", "192.168.0.0/16"}
	}
	return list
}

func (m *Manager) nodes(ctx context.Context) ([]ingress.Node, error) {
	var all []swarm.Node
	if err := m.get(ctx, "nodes", nil, &all); err != nil {
		return nil, err
	}
	var list []ingress.Node
	for _, n := range all {
		node := ingress.Node{
			ID: n.ID, Hostname: n.Description.Hostname, Addr: n.Status.Addr, State: string(n.Status.State),
			Availability: string(n.Spec.Availability), EngineVersion: n.Description.Engine.EngineVersion,
		}
		_, node.Marked = n.Spec.Labels[markLabel]
		if n.ManagerStatus != nil {
			node.Reachability = string(n.ManagerStatus.Reachability)
			// A manager knows itself by any address, the others by one.
			if host, _, err := net.SplitHostPort(n.ManagerStatus.Addr); err == nil && (node.Addr == "" || node.Addr == "0.0.0.0" || node.Addr == "::") {
				node.Addr = host
			}
		}
		list = append(list, node)
	}
	slices.SortFunc(list, func(a, b ingress.Node) int {
		return cmp.Or(cmp.Compare(a.Hostname, b.Hostname), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

// quorum says whether the majority of the managers is reachable.
func quorum(nodes []ingress.Node) bool {
	all, reachable := 0, 0
	for _, n := range nodes {
		if n.Reachability == "" {
			continue
		}
		all++
		if n.Reachability == string(swarm.ReachabilityReachable) {
			reachable++
		}
	}
	return 2*reachable > all
}

// networks finds the ingress network, and what other networks have taken.
func (m *Manager) networks(ctx context.Context, w *ingress.World) error {
	all, err := m.networkList(ctx)
	if err != nil {
		return err
	}
	for _, n := range all {
		w.Networks = append(w.Networks, n.ID)
		if n.Ingress {
			w.Ingress = n.network()
			continue
		}
		w.Names = append(w.Names, n.Name)
		for _, p := range n.IPAM.Config {
			w.Taken = append(w.Taken, ingress.Subnet{Prefix: p.Subnet, By: "network " + n.Name})
		}
	}
	return nil
}

// resource is a network as the API shows it.
type resource struct {
	ID string `json:"Id"`
	ingress.NetworkSpec
	Peers []network.PeerInfo
}

func (r *resource) network() *ingress.Network {
	n := &ingress.Network{ID: r.ID, Spec: r.NetworkSpec}
	for _, p := range r.Peers {
		n.Peers = append(n.Peers, ingress.Peer{Name: p.Name, Addr: p.IP})
	}
	return n
}

func (m *Manager) networkList(ctx context.Context) ([]resource, error) {
	var all []resource
	err := m.get(ctx, "networks", nil, &all)
	return all, err
}

// Ingress is part of ingress.Observer.
func (m *Manager) Ingress(ctx context.Context) (*ingress.Network, error) {
	all, err := m.networkList(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(r resource) bool { return r.Ingress })
	if i < 0 {
		return nil, nil //nolint:nilnil // there is none, which is no error
	}
	var one resource // the list has no peers
	if err := m.get(ctx, "networks/"+url.PathEscape(all[i].ID), nil, &one); err != nil {
		return nil, err
	}
	one.Labels = all[i].Labels // dockerd 20.10 shows a single ingress network without them
	return one.network(), nil
}

// service is a service as the API shows it.
type service struct {
	ID      string
	Version swarm.Version
	Spec    json.RawMessage
	// PreviousSpec is there after an update.
	PreviousSpec json.RawMessage
	// Endpoint has the ports with the numbers the engine chose.
	Endpoint     struct{ Ports []ingress.Port }
	UpdateStatus *swarm.UpdateStatus
}

func (s *service) service() (ingress.Service, error) {
	var spec swarm.ServiceSpec
	if err := json.Unmarshal(s.Spec, &spec); err != nil {
		return ingress.Service{}, fmt.Errorf("read service %s: %w", s.ID, err)
	}
	out := ingress.Service{ID: s.ID, Name: spec.Name, Version: s.Version.Index, Spec: s.Spec, Before: s.PreviousSpec, Ports: s.Endpoint.Ports}
	if s.UpdateStatus != nil {
		out.Update, out.Message = string(s.UpdateStatus.State), s.UpdateStatus.Message
	}
	again, err := json.Marshal(spec)
	if err != nil {
		return ingress.Service{}, fmt.Errorf("read service %s: %w", s.ID, err)
	}
	out.Lossy = strings.Join(lost(s.Spec, again), ", ")
	return out, nil
}

func (m *Manager) services(ctx context.Context) ([]ingress.Service, error) {
	var all []service
	if err := m.get(ctx, "services", nil, &all); err != nil {
		return nil, err
	}
	list := make([]ingress.Service, len(all))
	for i := range all {
		var err error
		if list[i], err = all[i].service(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// Service is part of ingress.Observer.
func (m *Manager) Service(ctx context.Context, id string) (ingress.Service, error) {
	var one service
	if err := m.get(ctx, "services/"+url.PathEscape(id), nil, &one); err != nil {
		return ingress.Service{}, err
	}
	return one.service()
}

func (m *Manager) tasks(ctx context.Context) ([]ingress.Task, error) {
	var all []swarm.Task
	if err := m.get(ctx, "tasks", nil, &all); err != nil {
		return nil, err
	}
	list := make([]ingress.Task, len(all))
	for i, t := range all {
		list[i] = ingress.Task{ID: t.ID, Service: t.ServiceID, Slot: t.Slot, Node: t.NodeID, Desired: string(t.DesiredState), State: string(t.Status.State)}
		for _, n := range t.NetworksAttachments {
			list[i].Networks = append(list[i].Networks, n.Network.ID)
		}
	}
	return list, nil
}

// UpdateService is part of ingress.Changer. The credentials for the image stay
// those of the present spec.
func (m *Manager) UpdateService(ctx context.Context, id string, version uint64, spec json.RawMessage) error {
	query := url.Values{"version": {strconv.FormatUint(version, 10)}, "registryAuthFrom": {swarm.RegistryAuthFromSpec}}
	_, err := m.do(ctx, http.MethodPost, "services/"+url.PathEscape(id)+"/update", query, spec)
	return err
}

// CreateNetwork is part of ingress.Changer.
func (m *Manager) CreateNetwork(ctx context.Context, spec ingress.NetworkSpec) error {
	_, err := m.do(ctx, http.MethodPost, "networks/create", nil, struct {
		ingress.NetworkSpec
		CheckDuplicate bool // for engines before API 1.44
	}{spec, true})
	return err
}

// RemoveNetwork is part of ingress.Changer.
func (m *Manager) RemoveNetwork(ctx context.Context, id string) error {
	_, err := m.do(ctx, http.MethodDelete, "networks/"+url.PathEscape(id), nil, nil)
	return err
}

// markLabel is the mark of TouchNode on a node.
const markLabel = "weft.join"

// TouchNode is part of ingress.Changer.
func (m *Manager) TouchNode(ctx context.Context, id string, mark bool) error {
	var n struct {
		Version swarm.Version
		Spec    map[string]json.RawMessage
	}
	route := "nodes/" + url.PathEscape(id)
	if err := m.get(ctx, route, nil, &n); err != nil {
		return err
	}
	labels := map[string]string{}
	if text := n.Spec["Labels"]; text != nil {
		if err := json.Unmarshal(text, &labels); err != nil {
			return fmt.Errorf("read labels of node %s: %w", id, err)
		}
	}
	_, marked := labels[markLabel]
	switch {
	case mark && labels == nil:
		labels = map[string]string{markLabel: "again"}
	case mark:
		labels[markLabel] = "again"
	default:
		delete(labels, markLabel)
	}
	if mark != marked {
		text, err := json.Marshal(labels)
		if err != nil {
			return err
		}
		n.Spec["Labels"] = text
	}
	_, err := m.do(ctx, http.MethodPost, route+"/update", url.Values{"version": {strconv.FormatUint(n.Version.Index, 10)}}, n.Spec)
	return err
}

// lost gives the paths of the members of a JSON object that another, made from
// it, has not or has otherwise. Null and empty are nothing to lose.
func lost(from, to json.RawMessage) []string {
	var a, b any
	if json.Unmarshal(from, &a) != nil || json.Unmarshal(to, &b) != nil {
		return []string{"all of it"}
	}
	var list []string
	compare("", a, b, func(path string) { list = append(list, path) })
	slices.Sort(list)
	return list
}

func compare(path string, a, b any, report func(string)) {
	switch a := a.(type) {
	case map[string]any:
		b, _ := b.(map[string]any)
		for key, member := range a {
			compare(strings.TrimPrefix(path+"."+key, "."), member, b[key], report)
		}
	case []any:
		b, _ := b.([]any)
		for i := range a {
			var other any
			if i < len(b) {
				other = b[i]
			}
			compare(fmt.Sprintf("%s[%d]", path, i), a[i], other, report)
		}
	default:
		if !empty(a) && !reflect.DeepEqual(a, b) {
			report(path)
		}
	}
}

// empty says that a scalar is what a missing member means.
func empty(v any) bool { return v == nil || v == "" || v == false || v == 0.0 }
