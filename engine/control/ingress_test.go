package control_test

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/network"
	"github.com/moby/swarmkit/v2/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"weft/engine/model"
)

// ingress gives the host's attachment to the ingress network, nil when it has
// none.
func (m *member) ingress() *model.Attachment {
	m.host.mu.Lock()
	defer m.host.mu.Unlock()
	return m.host.ingress
}

// seated waits until every member has a place of its own in the network.
func seated(t *testing.T, id string, members ...*member) {
	t.Helper()
	seen := map[netip.Prefix]bool{}
	for _, m := range members {
		eventually(t, m.host.name+" is in the ingress network", func() bool {
			a := m.ingress()
			return a != nil && a.Network.ID == id
		})
		a := m.ingress()
		if len(a.Addrs) == 0 || seen[a.Addrs[0]] || !a.Network.Subnets[0].Prefix.Contains(a.Addrs[0].Addr()) || a.Network.Subnets[0].VNI == 0 || !a.Network.Ingress {
			t.Errorf("%s: attachment %+v", m.host.name, a)
			continue
		}
		seen[a.Addrs[0]] = true
	}
}

func myIngress() network.CreateRequest {
	return network.CreateRequest{Name: "my-ingress", CreateOptions: network.CreateOptions{
		Driver: "overlay", Ingress: true, Labels: map[string]string{"made": "here"},
		Options: map[string]string{"com.docker.network.driver.mtu": "1200"},
		IPAM:    &network.IPAM{Config: []network.IPAMConfig{{Subnet: "10.11.0.0/16", Gateway: "10.11.0.2", IPRange: "10.11.128.0/17"}}},
	}}
}

// TestIngress replaces a swarm's ingress network; all nodes are idle.
func TestIngress(t *testing.T) {
	t.Parallel()
	a, b, c := newMember(t, "a"), newMember(t, "b"), newMember(t, "c")
	a.init(t)
	first, err := a.Network(t.Context(), "ingress")
	if err != nil || !first.Ingress || first.Scope != "swarm" || first.Driver != "overlay" {
		t.Fatalf("%+v %v", first, err)
	}
	b.join(t, a, true)
	c.join(t, a, false)
	seated(t, first.ID, a, b, c)

	_, err = a.CreateNetwork(t.Context(), myIngress())
	refused(t, err, errdefs.IsConflict, "rpc error: code = AlreadyExists desc = ingress network ("+first.ID+") is already present")
	if err := a.RemoveNetwork(t.Context(), "ingress"); err != nil {
		t.Fatal(err)
	}
	refused(t, a.RemoveNetwork(t.Context(), "ingress"), errdefs.IsNotFound, "network ingress not found")
	for _, m := range []*member{a, b, c} {
		eventually(t, m.host.name+" has left it", func() bool { return m.ingress() == nil })
	}
	a.host.get(func(h *fakeHost) bool { h.ingressSet = 0; return true })
	restart(t, a) // a swarm without an ingress network
	eventually(t, "a is told that there is none", func() bool {
		return a.host.get(func(h *fakeHost) bool { return h.ingressSet > 0 && h.ingress == nil })
	})

	attachable := myIngress()
	attachable.Attachable = true
	eventually(t, "a manages again", func() bool { return a.Info(t.Context()).ControlAvailable })
	_, err = a.CreateNetwork(t.Context(), attachable)
	refused(t, err, errdefs.IsInvalidArgument, "ingress network cannot be attachable")
	var id string
	eventually(t, "the swarm has a leader", func() bool {
		id, err = a.CreateNetwork(t.Context(), myIngress())
		return !errdefs.IsUnavailable(err)
	})
	if err != nil {
		t.Fatal(err)
	}
	seated(t, id, a, b, c)
	for _, m := range []*member{a, b, c} {
		nw := m.ingress().Network
		s := nw.Subnets[0]
		if nw.Name != "my-ingress" || nw.MTU != 1200 || nw.Labels["made"] != "here" || s.Gateway != netip.MustParseAddr("10.11.0.2") ||
			!netip.MustParsePrefix("10.11.128.0/17").Contains(m.ingress().Addrs[0].Addr()) {
			t.Errorf("%s: %+v at %v", m.host.name, nw, m.ingress().Addrs)
		}
	}
	was := *c.ingress()
	c.host.get(func(h *fakeHost) bool { h.ingress = nil; return true })
	restart(t, c)
	seated(t, id, c)
	if c.ingress().Addrs[0] != was.Addrs[0] {
		t.Errorf("after a restart at %v, was %v", c.ingress().Addrs, was.Addrs)
	}
}

// TestIngressIsRepeated: a host that can't join is a member all the same, and
// joins when it can.
func TestIngressIsRepeated(t *testing.T) {
	t.Parallel()
	m := newMember(t, "m")
	m.host.ingressErr = errors.New("not now")
	m.init(t)
	eventually(t, "it was tried more than once", func() bool { return m.host.get(func(h *fakeHost) bool { return h.ingressSet > 1 }) })
	if info := m.Info(t.Context()); info.Error != "" {
		t.Errorf("error %q", info.Error)
	}
	m.host.get(func(h *fakeHost) bool { h.ingressErr = nil; return true })
	first, err := m.Network(t.Context(), "ingress")
	if err != nil {
		t.Fatal(err)
	}
	seated(t, first.ID, m)
}

// TestIngressInUse: the network stays as long as a service publishes through
// it. This engine makes no such service; a dockerd of the same swarm may.
func TestIngressInUse(t *testing.T) {
	t.Parallel()
	m := newMember(t, "m")
	m.init(t)
	conn, err := grpc.NewClient("unix://"+filepath.Join(m.dir, "control.sock"), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{InsecureSkipVerify: true})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := api.NewControlClient(conn).CreateService(t.Context(), &api.CreateServiceRequest{Spec: &api.ServiceSpec{
		Annotations: api.Annotations{Name: "web"},
		Mode:        &api.ServiceSpec_Replicated{Replicated: &api.ReplicatedService{}},
		Task:        api.TaskSpec{Runtime: &api.TaskSpec_Container{Container: &api.ContainerSpec{Image: "nginx"}}},
		Endpoint:    &api.EndpointSpec{Ports: []*api.PortConfig{{TargetPort: 80, PublishedPort: 8080}}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, m.RemoveNetwork(t.Context(), "ingress"), errdefs.IsInvalidArgument,
		"rpc error: code = FailedPrecondition desc = ingress network cannot be removed because service "+r.Service.ID+" depends on it; "+
			"network ingress is used by: service web; take their published ports off first")
	if err := m.RemoveService(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	if err := m.RemoveNetwork(t.Context(), "ingress"); err != nil {
		t.Error(err)
	}
}
