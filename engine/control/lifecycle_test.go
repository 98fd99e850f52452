package control_test

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
)

func TestOutsideASwarm(t *testing.T) {
	t.Parallel()
	m := newMember(t, "lone")
	if err := m.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := m.Info(t.Context()).LocalNodeState; got != swarm.LocalNodeStateInactive {
		t.Errorf("state %s", got)
	}
	_, err := m.Inspect(t.Context())
	refused(t, err, errdefs.IsUnavailable, `This node is not a swarm manager. Use "docker swarm init"`)
	_, err = m.Nodes(t.Context(), filters.NewArgs())
	refused(t, err, errdefs.IsUnavailable, "This node is not a swarm manager.")
	refused(t, m.Leave(t.Context(), true), errdefs.IsUnavailable, "This node is not part of a swarm")
	refused(t, m.Unlock(t.Context(), swarm.UnlockRequest{}), errdefs.IsUnavailable, "This node is not a swarm manager.")
	_, err = m.Attach(t.Context(), "c", "n", nil)
	refused(t, err, errdefs.IsUnavailable, "This node is not a swarm manager.")
}

func TestInitInspectLeave(t *testing.T) {
	t.Parallel()
	m := newMember(t, "one")
	m.init(t)
	s, err := m.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.JoinTokens.Worker, "SWMTKN-1-") || s.JoinTokens.Worker == s.JoinTokens.Manager {
		t.Errorf("tokens %v", s.JoinTokens)
	}
	if s.DataPathPort != 4789 || s.Spec.Name != "default" {
		t.Errorf("swarm %+v", s.ClusterInfo)
	}
	eventually(t, "the host knows keys", func() bool { return m.host.get(func(h *fakeHost) bool { return h.keys > 0 && h.kept == 1 }) })
	mem, ok := m.Membership()
	if !ok || mem.NodeID != m.NodeID() || mem.AdvertiseAddr != addrOf(t, m.addr) || mem.DataPathPort != 4789 || mem.ListenAddr.String() != m.addr {
		t.Errorf("membership %+v %v", mem, ok)
	}
	info := m.Info(t.Context())
	if info.LocalNodeState != swarm.LocalNodeStateActive || !info.ControlAvailable || info.Nodes != 1 || info.Managers != 1 || info.Error != "" {
		t.Errorf("info %+v", info)
	}

	_, err = m.Init(t.Context(), swarm.InitRequest{ListenAddr: m.addr})
	refused(t, err, errdefs.IsUnavailable, "This node is already part of a swarm.")
	old := s.JoinTokens.Worker
	if err := m.Update(t.Context(), s.Version.Index, s.Spec, swarm.UpdateFlags{RotateWorkerToken: true}); err != nil {
		t.Fatal(err)
	}
	if s, err = m.Inspect(t.Context()); err != nil || s.JoinTokens.Worker == old {
		t.Errorf("token not rotated: %v", err)
	}
	_, err = m.Node.Node(t.Context(), "nope")
	refused(t, err, errdefs.IsNotFound, "node nope not found")

	refused(t, m.Leave(t.Context(), false), errdefs.IsUnavailable,
		"Removing the last manager erases all current state of the swarm. Use `--force` to ignore this message.")
	if err := m.Leave(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, m)
	if m.host.left != 1 {
		t.Errorf("host was told %d times", m.host.left)
	}
}

func nothingLeft(t *testing.T, m *member) {
	t.Helper()
	entries, err := os.ReadDir(m.dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("left in the state directory: %v %v", entries, err)
	}
	if got := m.Info(t.Context()).LocalNodeState; got != swarm.LocalNodeStateInactive {
		t.Errorf("state %s", got)
	}
}

func TestBadInit(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() }) // after the parallel subtests
	for _, tc := range []struct {
		name string
		req  swarm.InitRequest
		is   func(error) bool
		want string
	}{
		{"port in use", swarm.InitRequest{ListenAddr: busy.Addr().String(), AdvertiseAddr: "127.0.0.1"}, errdefs.IsUnavailable, "is in use"},
		{"foreign address", swarm.InitRequest{ListenAddr: "192.0.2.1:2377", AdvertiseAddr: "192.0.2.1"}, errdefs.IsInvalidArgument, "not an address of this machine"},
		{"advertise", swarm.InitRequest{ListenAddr: "0.0.0.0:2377", AdvertiseAddr: "300.1.1.1"}, errdefs.IsInvalidArgument, "advertise address must be a non-zero IP address or network interface (with optional port number)"},
		{"listen", swarm.InitRequest{ListenAddr: "nolink0:2377"}, errdefs.IsInvalidArgument, "listen address must be an IP address or network interface (with optional port number)"},
		{"data path", swarm.InitRequest{ListenAddr: "127.0.0.1:2377", AdvertiseAddr: "127.0.0.1", DataPathAddr: "nope"}, errdefs.IsInvalidArgument, "data path address must be a non-zero IP address"},
		{"data path port", swarm.InitRequest{ListenAddr: "127.0.0.1:2377", AdvertiseAddr: "127.0.0.1", DataPathPort: 80}, errdefs.IsInvalidArgument, "Datapath port number is not in valid range (1024-49151) : 80"},
		{"pool", swarm.InitRequest{ListenAddr: "127.0.0.1:2377", AdvertiseAddr: "127.0.0.1", DefaultAddrPool: []string{"10.0.0.0/25"}}, errdefs.IsInvalidArgument, "Subnet size is too small for pool"},
		{"name", swarm.InitRequest{ListenAddr: "127.0.0.1:2377", Spec: swarm.Spec{Annotations: swarm.Annotations{Name: "x"}}}, errdefs.IsInvalidArgument, `swarm spec must be named "default"`},
		{"availability", swarm.InitRequest{ListenAddr: freeAddr(t), AdvertiseAddr: "127.0.0.1", Availability: "weird"}, errdefs.IsInvalidArgument, `invalid Availability: "weird"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := newMember(t, "bad")
			_, err := m.Init(t.Context(), tc.req)
			refused(t, err, tc.is, tc.want)
			nothingLeft(t, m)
		})
	}
}

func TestBadJoin(t *testing.T) {
	t.Parallel()
	manager := newMember(t, "manager")
	manager.init(t)
	s, err := manager.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	worker := s.JoinTokens.Worker
	cut := strings.LastIndex(worker, "-") + 1
	wrongSecret := worker[:cut] + strings.Repeat("1", len(worker)-cut)
	wrongCA := "SWMTKN-1-" + strings.Repeat("1", 50) + "-" + worker[cut:]
	self := freeAddr(t)
	dead := freeAddr(t)
	for _, tc := range []struct {
		name string
		req  swarm.JoinRequest
		is   func(error) bool
		want string
	}{
		{"no token", swarm.JoinRequest{RemoteAddrs: []string{manager.addr}, JoinToken: "bogus"}, errdefs.IsInvalidArgument, "invalid join token"},
		{"wrong secret", swarm.JoinRequest{RemoteAddrs: []string{manager.addr}, JoinToken: wrongSecret}, errdefs.IsInvalidArgument, "A valid join token is necessary to join this cluster"},
		{"other swarm", swarm.JoinRequest{RemoteAddrs: []string{manager.addr}, JoinToken: wrongCA}, errdefs.IsUnavailable, "remote CA does not match fingerprint"},
		{"dead", swarm.JoinRequest{RemoteAddrs: []string{dead}, JoinToken: worker}, errdefs.IsUnavailable, "/tcp is open"},
		{"self", swarm.JoinRequest{ListenAddr: self, RemoteAddrs: []string{self}, JoinToken: worker}, errdefs.IsInvalidArgument, "is the address of this node itself"},
		{"nowhere", swarm.JoinRequest{JoinToken: worker}, errdefs.IsInvalidArgument, "at least 1 RemoteAddr is required to join"},
		{"port in use", swarm.JoinRequest{ListenAddr: manager.addr, RemoteAddrs: []string{dead, manager.addr}, JoinToken: worker}, errdefs.IsUnavailable, "no manager answers"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			m := newMember(t, "joiner")
			if tc.req.ListenAddr == "" {
				tc.req.ListenAddr = m.addr
			}
			begin := time.Now()
			refused(t, m.Join(t.Context(), tc.req), tc.is, tc.want)
			if d := time.Since(begin); d > 20*time.Second {
				t.Errorf("took %v", d)
			}
			nothingLeft(t, m)
		})
	}
}

func TestThreeNodes(t *testing.T) {
	t.Parallel()
	a, b, c := newMember(t, "a"), newMember(t, "b"), newMember(t, "c")
	a.init(t)
	b.join(t, a, false)
	c.join(t, a, false)
	refused(t, c.Join(t.Context(), swarm.JoinRequest{}), errdefs.IsUnavailable, "already part of a swarm")
	_, err := b.Inspect(t.Context())
	refused(t, err, errdefs.IsUnavailable, "Worker nodes can't be used to view or modify cluster state.")
	nodes, err := a.Nodes(t.Context(), filters.NewArgs(filters.Arg("role", "worker")))
	if err != nil || len(nodes) != 2 {
		t.Fatalf("workers %v %v", nodes, err)
	}
	_, err = a.Nodes(t.Context(), filters.NewArgs(filters.Arg("role", "king")))
	refused(t, err, errdefs.IsInvalidArgument, "Invalid role filter: 'king'")
	eventually(t, "b knows its membership", func() bool { _, ok := b.Membership(); return ok })
	if got := b.Managers(); len(got) != 1 || got[0] != addrOf(t, a.addr) {
		t.Errorf("b knows managers %v", got)
	}

	promote(t, a, b)
	eventually(t, "b is a manager", func() bool { return b.Info(t.Context()).ControlAvailable })
	if w := a.Info(t.Context()).Warnings; len(w) != 1 || !strings.Contains(w[0], "two-manager configuration") {
		t.Errorf("warnings %q", w)
	}
	refused(t, b.Leave(t.Context(), false), errdefs.IsUnavailable, "Removing this node leaves 1 managers out of 2.")

	if err := c.Leave(t.Context(), false); err != nil {
		t.Fatalf("worker leaves: %v", err)
	}
	nothingLeft(t, c)
	refused(t, a.RemoveNode(t.Context(), "c", false), errdefs.IsInvalidArgument, "is not down and can't be removed")
	if err := a.RemoveNode(t.Context(), "c", true); err != nil {
		t.Errorf("remove node: %v", err)
	}
}

func promote(t *testing.T, by, m *member) {
	t.Helper()
	n, err := by.Node.Node(t.Context(), m.NodeID())
	if err != nil {
		t.Fatal(err)
	}
	n.Spec.Role = swarm.NodeRoleManager
	if err := by.UpdateNode(t.Context(), n.ID, n.Version.Index, n.Spec); err != nil {
		t.Fatal(err)
	}
}

func TestRemovedNodeSaysSo(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a"), newMember(t, "b")
	a.init(t)
	b.join(t, a, false)
	if err := a.RemoveNode(t.Context(), b.NodeID(), true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b knows it was removed", func() bool {
		i := b.Info(t.Context())
		return i.LocalNodeState == swarm.LocalNodeStateError && strings.Contains(i.Error, "was removed from its swarm")
	})
	if err := b.Leave(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, b)
}

func TestAutolock(t *testing.T) {
	t.Parallel()
	m := newMember(t, "locked")
	_, err := m.Init(t.Context(), swarm.InitRequest{
		ListenAddr: m.addr, AdvertiseAddr: m.addr, AutoLockManagers: true,
		Spec: swarm.Spec{EncryptionConfig: swarm.EncryptionConfig{AutoLockManagers: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := m.UnlockKey(t.Context())
	if err != nil || !strings.HasPrefix(key, "SWMKEY-1-") {
		t.Fatalf("key %q %v", key, err)
	}
	refused(t, m.Unlock(t.Context(), swarm.UnlockRequest{UnlockKey: key}), errdefs.IsConflict, "swarm is not locked")
	id := m.NodeID()
	restart(t, m)
	if got := m.Info(t.Context()).LocalNodeState; got != swarm.LocalNodeStateLocked {
		t.Fatalf("state %s", got)
	}
	_, err = m.Inspect(t.Context())
	refused(t, err, errdefs.IsUnavailable, "Swarm is encrypted and needs to be unlocked before it can be used.")
	refused(t, m.Leave(t.Context(), false), errdefs.IsUnavailable, "Swarm is encrypted and locked.")
	wrong := key[:len(key)-6] + "AAAAAA"
	refused(t, m.Unlock(t.Context(), swarm.UnlockRequest{UnlockKey: wrong}), errdefs.IsUnauthorized, "invalid key provided")
	refused(t, m.Unlock(t.Context(), swarm.UnlockRequest{UnlockKey: "x"}), errdefs.IsInvalidArgument, "")
	if err := m.Unlock(t.Context(), swarm.UnlockRequest{UnlockKey: key}); err != nil {
		t.Fatal(err)
	}
	if m.NodeID() != id {
		t.Errorf("ID %s, was %s", m.NodeID(), id)
	}
}

// restart ends the node as an upgrade would and starts another on its state.
func restart(t *testing.T, m *member) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := m.StopKeep(ctx); err != nil {
		t.Fatal(err)
	}
	m.renew(t)
	if err := m.Start(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestHostRefusesMembership(t *testing.T) {
	t.Parallel()
	before, after := newMember(t, "before"), newMember(t, "after")
	before.host.checkErr = errors.New("7946/udp is in use")
	after.host.joinErr = errors.New("no VXLAN here")
	for _, m := range []*member{before, after} {
		_, err := m.Init(t.Context(), swarm.InitRequest{ListenAddr: m.addr, AdvertiseAddr: m.addr})
		want := errors.Join(m.host.checkErr, m.host.joinErr).Error()
		refused(t, err, func(error) bool { return true }, want)
		nothingLeft(t, m)
	}
	if len(before.host.joined) != 0 {
		t.Error("a refused check was not the end of it")
	}

	m := newMember(t, "later")
	m.init(t)
	m.host.get(func(h *fakeHost) bool { h.joinErr = errors.New("port is busy"); return true })
	restart(t, m)
	eventually(t, "info says what is wrong", func() bool { return m.Info(t.Context()).Error == "port is busy" })
	m.host.get(func(h *fakeHost) bool { h.joinErr = nil; return true })
	eventually(t, "it is tried again", func() bool { return m.Info(t.Context()).Error == "" })
}

func TestForceNewCluster(t *testing.T) {
	t.Parallel()
	a, b := newMember(t, "a"), newMember(t, "b")
	a.init(t)
	b.join(t, a, false)
	id := a.NodeID()
	req := swarm.InitRequest{ListenAddr: a.addr, AdvertiseAddr: a.addr, ForceNewCluster: true}
	_, err := b.Init(t.Context(), req)
	refused(t, err, errdefs.IsUnavailable, "Worker nodes can't be used")
	got, err := a.Init(t.Context(), req)
	if err != nil || got != id {
		t.Fatalf("ID %q, was %q: %v", got, id, err)
	}
	if i := a.Info(t.Context()); i.LocalNodeState != swarm.LocalNodeStateActive || i.Nodes != 2 || i.Managers != 1 {
		t.Errorf("info %+v", i)
	}
}
