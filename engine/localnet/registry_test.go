package localnet_test

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"

	"weft/engine/localnet"
	"weft/engine/model"
)

// kernel is a driver that remembers what it was told, and a table.
type kernel struct {
	bridges   map[string]bool
	endpoints map[string]bool
	saved     map[string]model.Network
	fail      error
}

func newKernel() *kernel {
	return &kernel{bridges: map[string]bool{}, endpoints: map[string]bool{}, saved: map[string]model.Network{}}
}

func (k *kernel) Ensure(_ context.Context, nw model.Network) error {
	k.bridges[nw.Name] = k.fail == nil
	return k.fail
}

func (k *kernel) Remove(_ context.Context, nw model.Network) error {
	delete(k.bridges, nw.Name)
	return nil
}

func (k *kernel) Join(_ context.Context, ep model.Endpoint) (model.Endpoint, error) {
	k.endpoints[ep.ID] = true
	return ep, nil
}

func (k *kernel) Leave(_ context.Context, _, id string) error {
	delete(k.endpoints, id)
	return nil
}

func (k *kernel) Publish(context.Context, string, string, []model.PortBinding) ([]model.PublishedPort, error) {
	return nil, nil
}

func (k *kernel) Sweep(_ context.Context, networks []model.Network, endpoints map[string]bool) error {
	keep := map[string]bool{}
	for _, nw := range networks {
		keep[nw.Name] = true
	}
	maps.DeleteFunc(k.bridges, func(name string, _ bool) bool { return !keep[name] })
	maps.DeleteFunc(k.endpoints, func(id string, _ bool) bool { return !endpoints[id] })
	return nil
}

func (k *kernel) Put(id string, n model.Network) error {
	k.saved[id] = n
	return nil
}

func (k *kernel) Delete(id string) error {
	delete(k.saved, id)
	return nil
}

func (k *kernel) List() (map[string]model.Network, error) { return maps.Clone(k.saved), nil }

func open(t *testing.T, k *kernel, change ...func(*localnet.Config)) *localnet.Registry {
	t.Helper()
	cfg := localnet.Config{
		EngineID: "engine", Table: k, Driver: k, Default: localnet.Default{Bridge: "weft0", ICC: true},
		Routed: func() ([]netip.Prefix, error) { return []netip.Prefix{netip.MustParsePrefix("172.17.3.0/24")}, nil },
		Log:    slog.New(slog.DiscardHandler), Now: func() time.Time { return time.Unix(1, 0) },
	}
	for _, f := range change {
		f(&cfg)
	}
	r, err := localnet.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func names(r *localnet.Registry) []string {
	var out []string
	for _, nw := range r.Networks() {
		out = append(out, nw.Name)
	}
	return out
}

func TestPredefinedNetworks(t *testing.T) {
	k := newKernel()
	r := open(t, k)
	if got := names(r); !slices.Equal(got, []string{"bridge", "host", "none"}) {
		t.Fatalf("networks of a new node: %v", got)
	}
	nw, ok := r.Find("default")
	if !ok || nw.Subnets[0].Prefix.String() != "172.18.0.0/16" || nw.Options["com.docker.network.bridge.name"] != "weft0" {
		t.Errorf("default bridge beside a route to 172.17.3.0/24: %+v", nw)
	}
	if len(k.bridges) > 0 {
		t.Errorf("bridges nobody needs yet: %v", k.bridges)
	}
	for _, name := range names(r) {
		nw, _ := r.Find(name)
		if err := r.Remove(t.Context(), nw.ID); !errdefs.IsPermissionDenied(err) {
			t.Errorf("%s was removed: %v", name, err)
		}
	}
	again, _ := open(t, k).Find("bridge")
	if diff := cmp.Diff(nw, again, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("after a restart:\n%s", diff)
	}
	moved, _ := open(t, k, func(c *localnet.Config) { c.Default.Subnet = netip.MustParsePrefix("10.5.0.1/24") }).Find("bridge")
	if s := moved.Subnets[0]; s.Prefix.String() != "10.5.0.0/24" || s.Gateway.String() != "10.5.0.1" || moved.ID != nw.ID {
		t.Errorf("asked for another subnet: %+v", moved)
	}
}

func TestLifeOfANetwork(t *testing.T) {
	k := newKernel()
	r := open(t, k)
	nw, err := r.Create(t.Context(), model.Network{Name: "one", Driver: "bridge", IPv6: true})
	if err != nil || len(nw.Subnets) != 2 || !nw.Subnets[1].Prefix.Addr().Is6() || !k.bridges["one"] {
		t.Fatalf("%+v, %v, bridges %v", nw, err, k.bridges)
	}
	if _, err := r.Create(t.Context(), model.Network{Name: "one", Driver: "bridge"}); !errdefs.IsConflict(err) {
		t.Errorf("a second one: %v", err)
	}
	a, err := r.Allocate(nw, model.NetworkRequest{})
	if err != nil || len(a.Addrs) != 2 || a.Addrs[0].Addr() != nw.Subnets[0].Gateway.Next() {
		t.Fatalf("%+v, %v", a, err)
	}
	ep := model.Endpoint{ID: "e", NetworkID: nw.ID, Addr: a.Addrs[0], AddrV6: a.Addrs[1]}
	if _, err := r.Join(t.Context(), ep); err != nil || !k.endpoints["e"] {
		t.Fatal(err)
	}
	if _, err := r.Allocate(nw, model.NetworkRequest{Addr: a.Addrs[0].Addr()}); err == nil || err.Error() != "Address already in use" {
		t.Errorf("an address twice: %v", err)
	}

	// An engine that comes after a crash knows networks and running endpoints.
	k.endpoints["stale"], k.bridges["stale"] = true, true
	r = open(t, k)
	if err := r.Restore(t.Context(), []model.Endpoint{ep}); err != nil {
		t.Fatal(err)
	}
	if len(k.endpoints) != 1 || len(k.bridges) != 1 {
		t.Errorf("after a restart: bridges %v, endpoints %v", k.bridges, k.endpoints)
	}
	if b, err := r.Allocate(nw, model.NetworkRequest{}); err != nil || b.Addrs[0] == ep.Addr || b.Addrs[1] == ep.AddrV6 {
		t.Errorf("an address in use was given out: %v, %v", b, err)
	}
	r.Release(ep)
	if b, err := r.Allocate(nw, model.NetworkRequest{}); err != nil || b.Addrs[0] != ep.Addr {
		t.Errorf("a released address: %v, %v", b, err)
	}
	if err := r.Remove(t.Context(), nw.ID); err != nil || k.bridges["one"] {
		t.Errorf("%v, %v", err, k.bridges)
	}
	if got := names(open(t, k)); slices.Contains(got, "one") {
		t.Errorf("removed and back: %v", got)
	}
	again, err := r.Create(t.Context(), model.Network{Name: "one", Driver: "bridge", Subnets: nw.Subnets[:1]})
	if err != nil {
		t.Errorf("its subnet was not given back: %v", err)
	}
	if err := r.Stop(t.Context()); err != nil || len(k.bridges) > 0 {
		t.Errorf("stopped with %v, %v", k.bridges, err)
	}
	if _, err := r.Join(t.Context(), model.Endpoint{ID: "f", NetworkID: again.ID}); err != nil || !k.bridges["one"] {
		t.Errorf("used after a stop: %v, %v", k.bridges, err)
	}
}

func TestCreateFailsWhole(t *testing.T) {
	k := newKernel()
	r := open(t, k)
	want := model.Network{Name: "one", Driver: "bridge", Subnets: []model.Subnet{{Prefix: netip.MustParsePrefix("10.7.0.0/24")}}}
	k.fail = errors.New("no")
	if _, err := r.Create(t.Context(), want); !errors.Is(err, k.fail) {
		t.Fatal(err)
	}
	if len(k.saved) != 3 {
		t.Errorf("recorded: %v", k.saved)
	}
	k.fail = nil
	if _, err := r.Create(t.Context(), want); err != nil {
		t.Errorf("the name or the subnet is still taken: %v", err)
	}
	want.Name = "two"
	if _, err := r.Create(t.Context(), want); !errdefs.IsPermissionDenied(err) {
		t.Errorf("the same subnet twice: %v", err)
	}
}

func TestConfigurationNetworks(t *testing.T) {
	k := newKernel()
	r := open(t, k)
	config, err := r.Create(t.Context(), model.Network{
		Name: "config", ConfigOnly: true, Subnets: []model.Subnet{{Prefix: netip.MustParsePrefix("10.7.0.0/24")}}, Options: map[string]string{"a": "b"},
	})
	if err != nil || k.bridges["config"] {
		t.Fatal(err, k.bridges)
	}
	nw, err := r.Create(t.Context(), model.Network{Name: "one", Driver: "bridge", ConfigFrom: "config"})
	if err != nil || nw.Subnets[0].Gateway.String() != "10.7.0.1" || nw.Options["a"] != "b" {
		t.Errorf("%+v, %v", nw, err)
	}
	if err := r.Remove(t.Context(), config.ID); !errdefs.IsPermissionDenied(err) {
		t.Errorf("a configuration in use was removed: %v", err)
	}
	if _, err := r.Create(t.Context(), model.Network{Name: "two", ConfigFrom: "one"}); !errdefs.IsPermissionDenied(err) {
		t.Errorf("from a network that is no configuration: %v", err)
	}
	if err := errors.Join(r.Remove(t.Context(), nw.ID), r.Remove(t.Context(), config.ID)); err != nil {
		t.Error(err)
	}
}
