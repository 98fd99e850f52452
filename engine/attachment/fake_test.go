package attachment_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/engine/attachment"
	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/netnstest"
)

// world is what a Manager drives but for namespaces and devices, which are the
// kernel's. It outlives the Manager.
type world struct {
	tb   testing.TB
	host *kernel.Namespace
	dir  string

	changed chan struct{} // has room for one: something was done

	mu     sync.Mutex
	fail   string          // the call that fails
	things map[string]bool // "address NET", "leg NET", "names KEY: NET, NET"
	calls  []string
	saved  map[string]attachment.Record
	events []string
	next   byte
}

var errFails = errors.New("it fails")

func newWorld(t *testing.T) *world {
	t.Helper()
	netnstest.Require(t)
	host, _ := netnstest.Sandbox(t)
	return &world{tb: t, host: host, dir: filepath.Join(t.TempDir(), "netns"), changed: make(chan struct{}, 1), things: map[string]bool{}, saved: map[string]attachment.Record{}}
}

func (w *world) manager() *attachment.Manager {
	return attachment.New(attachment.Config{
		Dir: w.dir, Host: w.host, Networks: w, Names: names{w}, Table: table{w},
		Refuse: func(_ context.Context, ns *kernel.Namespace) error {
			if ns.Same(w.host) {
				return fault.Forbidden("the host's")
			}
			return nil
		},
		Taken: func(name string) bool { return name == "taken" },
		Publish: func(e model.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			defer w.wake()
			w.events = append(w.events, e.Action+" "+e.Attributes["name"])
		},
		Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
}

// start gives a manager that ends with the test.
func (w *world) start(t *testing.T) *attachment.Manager {
	t.Helper()
	m := w.manager()
	t.Cleanup(func() {
		must(t, m.ReleaseAll(context.Background(), true, func(string) bool { return true }))
		m.Close()
		if left := w.has(); left != "" {
			t.Errorf("left: %s", left)
		}
	})
	return m
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// do makes a call that adds one thing and takes another away.
func (w *world) do(call, add, del string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.wake()
	w.calls = append(w.calls, call)
	if w.fail == call {
		return errFails
	}
	if add != "" {
		w.things[add] = true
	}
	delete(w.things, del)
	return nil
}

// wake tells who awaits something.
func (w *world) wake() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// has gives what there is, mounts, TAP devices and records included.
func (w *world) has() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for k := range w.things {
		out = append(out, k)
	}
	mounts, err := kernel.List(w.dir)
	must(w.tb, err)
	for range mounts {
		out = append(out, "mount")
	}
	for range w.saved {
		out = append(out, "record")
	}
	if strings.Contains(netnstest.Exec(w.tb, w.host, "ip", "tuntap", "show"), ":") {
		out = append(out, "tap")
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func (w *world) Check(context.Context, model.NetworkRequest) error { return w.do("check", "", "") }

func (w *world) Allocate(_ context.Context, _ string, req model.NetworkRequest) (model.Attachment, error) {
	if err := w.do("allocate", "address "+req.Network, ""); err != nil {
		return model.Attachment{}, err
	}
	scope := model.ScopeSwarm
	if req.Network == "lan" {
		scope = model.ScopeLocal
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	return model.Attachment{
		Network: model.Network{ID: req.Network + "-id", Name: req.Network, Driver: "overlay", Scope: scope, Subnets: []model.Subnet{
			{Prefix: netip.MustParsePrefix("10.20.0.0/24")}, {Prefix: netip.MustParsePrefix("10.21.0.0/24")},
		}},
		Addrs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 20, 0, w.next}), 24)},
	}, nil
}

func (w *world) Release(_ context.Context, ep model.Endpoint) error {
	return w.do("release", "", "address "+ep.NetworkName)
}

func (w *world) Join(_ context.Context, nw model.Network, ep model.Endpoint) (model.Endpoint, error) {
	if err := w.do("join", "leg "+nw.Name, ""); err != nil {
		return ep, err
	}
	ep.IfName, ep.Gateway = "lo", netip.MustParseAddr("10.20.0.254")
	if ep.Bare {
		ep.IfName = "wvt" + ep.ID[:8]
		netnstest.Exec(w.tb, w.host, "ip", "link", "add", ep.IfName, "mtu", "1400", "type", "veth", "peer", "name", "x"+ep.ID[:8])
	}
	return ep, nil
}

func (w *world) Leave(_ context.Context, ep model.Endpoint) error {
	err := w.do("leave", "", "leg "+ep.NetworkName)
	if err == nil && ep.Bare && ep.IfName != "" {
		netnstest.Exec(w.tb, w.host, "ip", "link", "delete", ep.IfName)
	}
	return err
}

type names struct{ *world }

func (n names) Serve(s attachment.Sandbox) error {
	var list []string
	for _, ep := range s.Endpoints {
		list = append(list, ep.NetworkName)
	}
	slices.Sort(list)
	n.drop(s)
	return n.do("serve", fmt.Sprintf("names %s", strings.Join(list, "+")), "")
}

// drop forgets what one sandbox is served with; tests have one at a time.
func (n names) drop(attachment.Sandbox) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for k := range n.things {
		if strings.HasPrefix(k, "names ") {
			delete(n.things, k)
		}
	}
}

func (n names) Forget(s attachment.Sandbox) error {
	n.drop(s)
	return n.do("forget", "", "")
}

func (names) Resolver(ep model.Endpoint) netip.Addr {
	if ep.NetworkName == "nameless" {
		return netip.Addr{}
	}
	return netip.MustParseAddr("127.0.0.11")
}

type table struct{ *world }

func (t table) Put(id string, r attachment.Record) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.saved[id] = r
	return nil
}

func (t table) Delete(id string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	defer t.wake()
	delete(t.saved, id)
	return nil
}

func (t table) List() (map[string]attachment.Record, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := map[string]attachment.Record{}
	for id, r := range t.saved {
		out[id] = r
	}
	return out, nil
}
