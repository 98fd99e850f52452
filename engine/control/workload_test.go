package control_test

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"

	"weft/engine/model"
)

func mkNetwork(t *testing.T, m *member, name string, configs ...network.IPAMConfig) string {
	t.Helper()
	req := network.CreateRequest{Name: name, CreateOptions: network.CreateOptions{
		Driver: "overlay", Attachable: true, IPAM: &network.IPAM{Config: configs},
	}}
	for _, c := range configs {
		if strings.Contains(c.Subnet, ":") {
			on := true
			req.EnableIPv6 = &on
		}
	}
	id, err := m.CreateNetwork(t.Context(), req)
	if err != nil {
		t.Fatalf("create network: %v", err)
	}
	eventually(t, "network "+name+" is allocated", func() bool {
		n, err := m.NetworkModel(t.Context(), id)
		return err == nil && len(n.Subnets) > 0 && n.Subnets[0].VNI != 0
	})
	return id
}

func serviceSpec(name, nw string, replicas uint64) swarm.ServiceSpec {
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: name, Labels: map[string]string{"team": "a"}},
		Mode:        swarm.ServiceMode{Replicated: &swarm.ReplicatedService{Replicas: &replicas}},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: &swarm.ContainerSpec{
				Image: "weft/probe", Command: []string{"/probe"}, Args: []string{"http"},
				Env: []string{"SLOT={{.Task.Slot}}"}, Hostname: "{{.Service.Name}}-{{.Node.Hostname}}",
			},
			Networks: []swarm.NetworkAttachmentConfig{{Target: nw, Aliases: []string{"alias"}}},
		},
	}
}

func TestServiceLifeCycle(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a"), newMember(t, "b")
	a.init(t)
	b.join(t, a, false)
	mkNetwork(t, a, "net",
		network.IPAMConfig{Subnet: "10.77.0.0/24", AuxAddress: map[string]string{"router": "10.77.0.2", "nas": "10.77.0.3"}},
		network.IPAMConfig{Subnet: "fd77::/64"})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := a.Watch(ctx)

	_, err := a.CreateService(t.Context(), serviceSpec("web", "nope", 1))
	refused(t, err, errdefs.IsNotFound, "network nope not found")
	_, err = a.CreateService(t.Context(), serviceSpec("web", "ingress", 1))
	refused(t, err, errdefs.IsInvalidArgument, `rpc error: code = InvalidArgument desc = Service cannot be explicitly attached to the ingress network "ingress"`)
	created, err := a.CreateService(t.Context(), serviceSpec("web", "net", 4))
	if err != nil {
		t.Fatal(err)
	}
	if len(created.Warnings) != 0 {
		t.Errorf("warnings %q", created.Warnings)
	}
	_, err = a.CreateService(t.Context(), serviceSpec("web", "net", 4))
	refused(t, err, errdefs.IsConflict, "rpc error: code = AlreadyExists desc = name conflicts with an existing object: service web already exists")
	running := func(n int) func() bool {
		return func() bool { return len(a.host.running())+len(b.host.running()) == n }
	}
	eventually(t, "4 tasks run", running(4))
	checkTasks(t, a, b)
	checkListing(t, a, created.ID)

	s, err := a.Service(t.Context(), "web", true)
	if err != nil {
		t.Fatal(err)
	}
	two := uint64(2)
	s.Spec.Mode.Replicated.Replicas = &two
	_, err = a.UpdateService(t.Context(), "web", s.Version.Index+7, s.Spec, swarm.ServiceUpdateOptions{})
	refused(t, err, errdefs.IsInternal, "rpc error: code = Unknown desc = update out of sequence")
	upd, err := a.UpdateService(t.Context(), "web", s.Version.Index, s.Spec, swarm.ServiceUpdateOptions{})
	if err != nil || len(upd.Warnings) != 0 {
		t.Fatalf("scale: %v %q", err, upd.Warnings)
	}
	eventually(t, "2 tasks run", running(2))
	rollBack(t, a)
	eventually(t, "4 tasks run again", running(4))

	if err := a.RemoveService(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no task is left", func() bool {
		left := func(h *fakeHost) bool { return len(h.tasks) == 0 }
		return a.host.get(left) && b.host.get(left)
	})
	eventually(t, "the network can go", func() bool { return a.RemoveNetwork(t.Context(), "net") == nil })
	wantEvents(t, events, "service create", "service update", "service remove", "network remove")
}

func checkTasks(t *testing.T, members ...*member) {
	t.Helper()
	seen := map[netip.Addr]bool{}
	for _, m := range members {
		m.host.get(func(h *fakeHost) bool {
			if len(h.tasks) == 0 {
				t.Errorf("no task on %s", h.name)
			}
			for _, task := range h.tasks {
				checkTask(t, h.name, task.spec, seen)
			}
			return true
		})
	}
}

func checkTask(t *testing.T, host string, task model.Task, seen map[netip.Addr]bool) {
	t.Helper()
	p := task.Spec.Process
	if p.Image != "weft/probe:latest" || p.Entrypoint[0] != "/probe" || p.Args[0] != "http" || p.Hostname != "web-"+host || !strings.HasPrefix(p.Env[0], "SLOT=") || strings.Contains(p.Env[0], "{{") {
		t.Errorf("process %+v", p)
	}
	if s := task.Spec.Service; s.ServiceName != "web" || s.TaskID != task.ID || s.Slot == 0 || task.Spec.Labels["com.docker.swarm.service.name"] != "web" {
		t.Errorf("service %+v", s)
	}
	at := task.Attachments[0]
	if len(at.Addrs) != 2 || at.Network.Name != "net" || at.Aliases[0] != "alias" {
		t.Fatalf("attachment %+v", at)
	}
	v4, v6 := at.Addrs[0], at.Addrs[1]
	if v4.Bits() != 24 || v6.Bits() != 64 || v6 != at.Network.Segments()[0].AddrV6(v4.Addr()) {
		t.Errorf("addresses %v", at.Addrs)
	}
	for _, taken := range []string{"10.77.0.1", "10.77.0.2", "10.77.0.3"} {
		if v4.Addr() == netip.MustParseAddr(taken) {
			t.Errorf("reserved address %s was handed out", taken)
		}
	}
	if seen[v4.Addr()] {
		t.Errorf("%s was given twice", v4)
	}
	seen[v4.Addr()] = true
	if g := at.Network.Segments()[0].V6.Gateway; g != netip.MustParseAddr("fd77::1") {
		t.Errorf("IPv6 gateway %s", g)
	}
}

func checkListing(t *testing.T, m *member, id string) {
	t.Helper()
	eventually(t, "4 tasks are reported running, with their containers", func() bool {
		list, err := m.Services(t.Context(), filters.NewArgs(filters.Arg("mode", "replicated"), filters.Arg("label", "team=a")), true)
		return err == nil && len(list) == 1 && list[0].ID == id && list[0].ServiceStatus.RunningTasks == 4
	})
	tasks, err := m.Tasks(t.Context(), filters.NewArgs(filters.Arg("service", "web"), filters.Arg("node", "b"), filters.Arg("desired-state", "running")))
	if err != nil || len(tasks) == 0 {
		t.Fatalf("tasks %v %v", tasks, err)
	}
	if c := tasks[0].Status.ContainerStatus; c.ContainerID != "ctr-"+tasks[0].ID || c.PID != 4242 {
		t.Errorf("container status %+v", c)
	}
	if _, err := m.Task(t.Context(), tasks[0].ID[:12]); err != nil {
		t.Error(err)
	}
	for _, tc := range []struct{ key, value, want string }{
		{"desired-state", "asleep", "Invalid desired-state filter: 'asleep'"},
		{"service", "nope", "service nope not found"},
		{"color", "red", "invalid filter 'color'"},
	} {
		_, err := m.Tasks(t.Context(), filters.NewArgs(filters.Arg(tc.key, tc.value)))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("filter %s=%s: %v", tc.key, tc.value, err)
		}
	}
}

func rollBack(t *testing.T, m *member) {
	t.Helper()
	s, err := m.Service(t.Context(), "web", false)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.UpdateService(t.Context(), "web", s.Version.Index, s.Spec, swarm.ServiceUpdateOptions{Rollback: "sideways"})
	refused(t, err, errdefs.IsInvalidArgument, "unrecognized rollback option sideways")
	if _, err := m.UpdateService(t.Context(), "web", s.Version.Index, s.Spec, swarm.ServiceUpdateOptions{Rollback: "previous"}); err != nil {
		t.Fatal(err)
	}
}

// wantEvents reads until it has seen all of these, in this order.
func wantEvents(t *testing.T, events <-chan model.Event, want ...string) {
	t.Helper()
	timeout := time.NewTimer(20 * time.Second)
	defer timeout.Stop()
	for len(want) > 0 {
		select {
		case e := <-events:
			if e.Type+" "+e.Action == want[0] && e.Attributes["name"] != "" && e.Scope == model.ScopeSwarm {
				want = want[1:]
			}
		case <-timeout.C:
			t.Fatalf("no event %q", want)
		}
	}
}

func TestFailingAndUnsupportedTasks(t *testing.T) {
	t.Parallel()
	m := newMember(t, "m")
	m.init(t)
	nw := network.IPAMConfig{Subnet: "10.78.0.0/24"}
	mkNetwork(t, m, "net", nw)
	encryptedNet := network.CreateRequest{Name: "dark", CreateOptions: network.CreateOptions{Driver: "overlay", Options: map[string]string{"encrypted": ""}}}
	if _, err := m.CreateNetwork(t.Context(), encryptedNet); err != nil {
		t.Fatal(err)
	}
	once := swarm.RestartPolicy{Condition: swarm.RestartPolicyConditionNone}
	specs := map[string]swarm.ServiceSpec{}
	specs["task: non-zero exit (3)"] = serviceSpec("dies", "net", 1)
	specs["network dark is encrypted"] = serviceSpec("dark", "dark", 1)
	filtered := serviceSpec("filtered", "net", 1)
	filtered.TaskTemplate.ContainerSpec.Privileges = &swarm.Privileges{Seccomp: &swarm.SeccompOpts{Mode: swarm.SeccompModeCustom, Profile: []byte("{}")}}
	specs["cannot run tasks with a system call filter of its own"] = filtered
	for want, spec := range specs {
		spec.TaskTemplate.RestartPolicy = &once
		if _, err := m.CreateService(t.Context(), spec); err != nil {
			t.Fatalf("%s: %v", want, err)
		}
	}
	eventually(t, "one task runs", func() bool { return len(m.host.running()) == 1 })
	m.host.end(m.host.running()[0], 3)
	for want, spec := range specs {
		eventually(t, want, func() bool {
			tasks, err := m.Tasks(t.Context(), filters.NewArgs(filters.Arg("service", spec.Name)))
			return err == nil && len(tasks) == 1 && strings.Contains(tasks[0].Status.Err, want)
		})
	}
	tasks, err := m.Tasks(t.Context(), filters.NewArgs(filters.Arg("service", "dies")))
	if err != nil || tasks[0].Status.State != swarm.TaskStateFailed || tasks[0].Status.ContainerStatus.ExitCode != 3 {
		t.Errorf("failed task %+v %v", tasks, err)
	}
}

func TestExhaustedSubnet(t *testing.T) {
	t.Parallel()
	m := newMember(t, "m")
	m.init(t)
	// 8 addresses, less network, broadcast and gateway: 5 for tasks and the
	// node itself, whoever comes first.
	id := mkNetwork(t, m, "tiny", network.IPAMConfig{Subnet: "10.79.0.0/29"})
	if _, err := m.CreateService(t.Context(), serviceSpec("full", "tiny", 6)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "tasks run", func() bool { return len(m.host.running()) >= 4 })
	eventually(t, "the sixth says why it does not", func() bool {
		tasks, err := m.Tasks(t.Context(), filters.NewArgs(filters.Arg("service", "full")))
		if err != nil {
			return false
		}
		for _, task := range tasks {
			if task.Status.State == swarm.TaskStateNew && strings.Contains(task.Status.Err, "no address left in network tiny: subnet 10.79.0.0/29 is exhausted") {
				return true
			}
		}
		return false
	})
	begin := time.Now()
	_, err := m.Attach(t.Context(), strings.Repeat("c", 64), id, nil)
	refused(t, err, errdefs.IsUnavailable, "Could not attach to network tiny: network tiny (10.79.0.0/29): ")
	if d := time.Since(begin); d > 10*time.Second {
		t.Errorf("attach failed after %v only", d)
	}
}

func TestAttachAndRestart(t *testing.T) {
	t.Parallel()
	m := newMember(t, "m")
	m.init(t)
	id := mkNetwork(t, m, "net", network.IPAMConfig{Subnet: "10.80.0.0/24"})
	closed := network.CreateRequest{Name: "closed", CreateOptions: network.CreateOptions{Driver: "overlay"}}
	if _, err := m.CreateNetwork(t.Context(), closed); err != nil {
		t.Fatal(err)
	}
	c1, c2 := strings.Repeat("1", 64), strings.Repeat("2", 64)
	_, err := m.Attach(t.Context(), c1, "closed", nil)
	refused(t, err, errdefs.IsPermissionDenied, "Could not attach to network closed: rpc error: code = PermissionDenied desc = network closed not manually attachable")
	at, err := m.Attach(t.Context(), c1, "net", []netip.Addr{netip.MustParseAddr("10.80.0.50")})
	if err != nil || at.Addrs[0].String() != "10.80.0.50/24" || at.Network.ID != id {
		t.Fatalf("attach %+v %v", at, err)
	}
	if again, err := m.Attach(t.Context(), c1, id, nil); err != nil || again.Addrs[0] != at.Addrs[0] {
		t.Errorf("attached again %+v %v", again, err)
	}
	_, err = m.Attach(t.Context(), c2, "net", []netip.Addr{netip.MustParseAddr("10.80.0.50")})
	refused(t, err, errdefs.IsUnavailable, "Could not attach to network net: ")
	refused(t, m.RemoveNetwork(t.Context(), "net"), errdefs.IsInvalidArgument, "is in use by task")
	if _, err := m.CreateService(t.Context(), serviceSpec("web", "net", 2)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "2 tasks run", func() bool { return len(m.host.running()) == 2 })
	eventually(t, "both are known to run", func() bool {
		list, err := m.Services(t.Context(), filters.NewArgs(), true)
		return err == nil && len(list) == 1 && list[0].ServiceStatus.RunningTasks == 2
	})

	nodeID := m.NodeID()
	restart(t, m)
	if m.NodeID() != nodeID {
		t.Errorf("ID %s, was %s", m.NodeID(), nodeID)
	}
	eventually(t, "the host is told what is kept", func() bool {
		return m.host.get(func(h *fakeHost) bool { return h.kept == 2 && len(h.keep) == 2 && len(h.attached) == 1 })
	})
	if got := len(m.host.running()); got != 2 || len(m.host.removed) != 0 {
		t.Fatalf("%d tasks run, %v removed", got, m.host.removed)
	}
	m.host.end(m.host.running()[0], 1)
	eventually(t, "the adopted task's end is noticed and it is replaced", func() bool { return len(m.host.running()) == 2 })

	if got := m.Attachments(); len(got) != 1 || got[0].ContainerID != c1 || got[0].Attachment.Addrs[0] != at.Addrs[0] {
		t.Fatalf("attachments %+v", got)
	}
	if err := m.Detach(t.Context(), c1, id); err != nil {
		t.Fatal(err)
	}
	refused(t, m.Detach(t.Context(), c1, id), errdefs.IsNotFound, "could not find network attachment")
	if err := m.RemoveService(t.Context(), "web"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the network can go", func() bool { return m.RemoveNetwork(t.Context(), "net") == nil })

	if err := m.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !m.host.get(func(h *fakeHost) bool { return len(h.tasks) == 0 && h.left == 0 }) {
		t.Error("tasks are left after Stop")
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	m := newMember(t, "m")
	m.init(t)
	mkNetwork(t, m, "one", network.IPAMConfig{Subnet: "10.81.0.0/16", Gateway: "10.81.0.9", IPRange: "10.81.5.0/24"}, network.IPAMConfig{Subnet: "10.82.0.0/24"})
	n, err := m.Network(t.Context(), "one")
	if err != nil || n.Driver != "overlay" || n.Scope != "swarm" || !n.Attachable || len(n.IPAM.Config) != 2 || n.IPAM.Config[0].Gateway != "10.81.0.9" || n.IPAM.Config[1].Gateway != "10.82.0.1" {
		t.Errorf("network %+v %v", n, err)
	}
	mod, err := m.NetworkModel(t.Context(), n.ID)
	if err != nil || mod.Subnets[0].VNI == 0 || mod.Subnets[0].VNI == mod.Subnets[1].VNI || mod.Subnets[0].IPRange.String() != "10.81.5.0/24" {
		t.Errorf("model %+v %v", mod, err)
	}
	list, err := m.Networks(t.Context())
	if err != nil || len(list) != 2 { // with ingress, without the predefined ones
		t.Errorf("networks %v %v", list, err)
	}
	create := func(o network.CreateOptions) error {
		o.Driver = "overlay"
		_, err := m.CreateNetwork(t.Context(), network.CreateRequest{Name: "two", CreateOptions: o})
		return err
	}
	refused(t, create(network.CreateOptions{Ingress: true}), errdefs.IsConflict, "rpc error: code = AlreadyExists desc = ingress network (")
	refused(t, create(network.CreateOptions{Ingress: true, Attachable: true}), errdefs.IsInvalidArgument, "ingress network cannot be attachable")
	refused(t, create(network.CreateOptions{IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: "10.81.9.0/24"}}}}), errdefs.IsConflict, "Pool overlaps with other one on this address space")
	_, err = m.CreateNetwork(t.Context(), network.CreateRequest{Name: "host"})
	refused(t, err, errdefs.IsPermissionDenied, "host is a pre-defined network and cannot be created")
	_, err = m.CreateNetwork(t.Context(), network.CreateRequest{Name: "one", CreateOptions: network.CreateOptions{Driver: "overlay"}})
	refused(t, err, errdefs.IsConflict, "network with name one already exists")
	_, err = m.Network(t.Context(), "nope")
	refused(t, err, errdefs.IsNotFound, "network nope not found")
}
