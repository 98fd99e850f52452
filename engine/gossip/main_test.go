package gossip

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/log"
	"go.uber.org/goleak"

	"weft/engine/model"
)

// The tests run in a network namespace of their own: the nodes have loopback
// addresses and the real port, and a partition cuts nobody else off.
const (
	inNamespace = "WEFT_TEST_GOSSIP_NETNS"
	asNode      = "WEFT_TEST_GOSSIP_NODE"
)

func TestMain(m *testing.M) {
	_ = log.SetLevel(cmp.Or(os.Getenv("WEFT_TEST_LOG"), "panic")) // networkdb is talkative
	switch {
	case os.Getenv(asNode) != "":
		os.Exit(node(os.Getenv(asNode)))
	case os.Getenv(inNamespace) == "":
		os.Exit(again())
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	// A probe under way ends with its interval, after memberlist has ended.
	// networkdb ends what it does every so often only after its Close has
	// returned: it awaits a node that is gone, and one that failed, for 30 s at
	// most.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"),
		goleak.IgnoreAnyFunction("github.com/docker/docker/libnetwork/networkdb.(*NetworkDB).bulkSyncNode"),
		goleak.IgnoreAnyFunction("github.com/docker/docker/libnetwork/networkdb.(*NetworkDB).reconnectNode"),
		goleak.IgnoreAnyFunction("github.com/docker/docker/libnetwork/networkdb.(*NetworkDB).rejoinClusterBootStrap"))
}

// again runs the tests in a new network namespace.
func again() int {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if err := cmd.Run(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Exited() {
			return exit.ExitCode()
		}
		fmt.Fprintln(os.Stderr, "run tests in a network namespace:", err)
		return 1
	}
	return 0
}

// dirStore is a Store of files.
type dirStore string

func (d dirStore) Load(key string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(string(d), key))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

func (d dirStore) Save(key string, value []byte) error {
	path := filepath.Join(string(d), key)
	if err := os.WriteFile(path+".new", value, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// nodeConfig describes a node that runs in a process of its own, to be killed.
type nodeConfig struct {
	Addr      netip.Addr
	Seeds     []netip.Addr
	Dir       string
	Endpoints []string
}

const testNet = "net1"

// node is a child process: a gossip that publishes and waits.
func node(raw string) int {
	var c nodeConfig
	if err := json.Unmarshal([]byte(raw), &c); err != nil {
		return 2
	}
	ctx := context.Background()
	g, err := Start(ctx, Config{
		Hostname: "child", BindAddr: c.Addr, AdvertiseAddr: c.Addr, Port: 7946, Keys: keys(1, 2, 3),
		Seeds: func() []netip.Addr { return c.Seeds }, Store: dirStore(c.Dir), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err == nil {
		err = g.JoinNetwork(ctx, testNet, Handler{})
	}
	for i, id := range c.Endpoints {
		if err == nil {
			err = g.Publish(ctx, testNet, testEndpoint(id, c.Addr, i), vtepOf(c.Addr))
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// child is a running node. kill ends it as a crash would.
type child struct {
	cmd  *exec.Cmd
	kill func()
}

func (c child) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func startNode(t *testing.T, c nodeConfig) child {
	t.Helper()
	raw, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), asNode+"="+string(raw))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(kill)
	line := make([]byte, 64)
	if n, err := out.Read(line); err != nil || !strings.HasPrefix(string(line[:n]), "ready") {
		t.Fatalf("child says %q, %v", line[:n], err)
	}
	return child{cmd: cmd, kill: kill}
}

func keys(lamports ...uint64) []model.GossipKey {
	var out []model.GossipKey
	for _, l := range lamports {
		b := make([]byte, 16)
		b[0] = byte(l)
		out = append(out, model.GossipKey{Subsystem: gossipSubsystem, Key: b, Lamport: l})
	}
	return out
}

// testEndpoint gives the i-th endpoint of the node at addr.
func testEndpoint(id string, addr netip.Addr, i int) model.Endpoint {
	b := addr.As4()
	ip := netip.AddrFrom4([4]byte{10, b[3], byte(i >> 8), byte(10 + i)})
	return model.Endpoint{ID: id, Name: "name-" + id, Addr: netip.PrefixFrom(ip, 8), MAC: model.MACFromAddr(ip)}
}

// vtepOf gives a VTEP for the node at addr.
func vtepOf(addr netip.Addr) netip.Addr {
	b := addr.As4()
	return netip.AddrFrom4([4]byte{192, 0, 2, b[3]})
}

// testTimes are short where nothing is lost by it.
func testTimes() times {
	t := defaultTimes()
	t.watch = 500 * time.Millisecond
	t.patrol = 5 * time.Second
	t.grace = 4 * time.Second
	return t
}

// startGossip starts a node in this process and joins testNet.
func startGossip(t *testing.T, addr netip.Addr, change func(*Config), seeds ...netip.Addr) (*Gossip, *view) {
	t.Helper()
	cfg := Config{
		Hostname: t.Name(), BindAddr: addr, AdvertiseAddr: addr, Port: 7946, Keys: keys(1, 2, 3),
		Seeds: func() []netip.Addr { return seeds }, Store: dirStore(t.TempDir()),
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)).With("node", addr), Now: time.Now, times: testTimes(),
	}
	if change != nil {
		change(&cfg)
	}
	g, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
		<-g.done
	})
	v := &view{peers: map[string]model.Peer{}, records: map[string]model.Record{}}
	if err := g.JoinNetwork(t.Context(), testNet, v.handler()); err != nil {
		t.Fatal(err)
	}
	return g, v
}

func publish(t *testing.T, g *Gossip, ids ...string) {
	t.Helper()
	for i, id := range ids {
		addr := g.cfg.AdvertiseAddr
		if err := g.Publish(t.Context(), testNet, testEndpoint(id, addr, i), vtepOf(addr)); err != nil {
			t.Fatal(err)
		}
	}
}

// view is what a node has been told about testNet.
type view struct {
	mu      sync.Mutex
	calls   int
	fulls   int
	partial bool // told a change before the whole
	peers   map[string]model.Peer
	records map[string]model.Record
	deleted []string // every peer deletion
	log     []model.PeerChange
}

func (v *view) handler() Handler {
	return Handler{
		Peers: func(_ string, changes []model.PeerChange, full bool) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.calls++
			if full {
				v.fulls++
				for id := range v.peers {
					if !hasPeer(changes, id) {
						v.deleted = append(v.deleted, id)
					}
				}
				clear(v.peers)
			}
			v.partial = v.partial || v.fulls == 0
			v.log = append(v.log, changes...)
			for _, c := range changes {
				if c.Delete {
					delete(v.peers, c.Peer.EndpointID)
					v.deleted = append(v.deleted, c.Peer.EndpointID)
				} else {
					v.peers[c.Peer.EndpointID] = c.Peer
				}
			}
		},
		Records: func(_ string, changes []RecordChange, full bool) {
			v.mu.Lock()
			defer v.mu.Unlock()
			if full {
				clear(v.records)
			}
			for _, c := range changes {
				if c.Delete {
					delete(v.records, c.Record.EndpointID)
				} else {
					v.records[c.Record.EndpointID] = c.Record
				}
			}
		},
	}
}

func hasPeer(changes []model.PeerChange, id string) bool {
	for _, c := range changes {
		if c.Peer.EndpointID == id {
			return true
		}
	}
	return false
}

// sees reports whether exactly the given endpoints are known as peers.
func (v *view) sees(ids ...string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.peers) != len(ids) {
		return false
	}
	for _, id := range ids {
		if _, ok := v.peers[id]; !ok {
			return false
		}
	}
	return true
}

// hears reports whether the given endpoints have names.
func (v *view) hears(ids ...string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, id := range ids {
		if v.records[id].Name != "name-"+id {
			return false
		}
	}
	return true
}

// told gives how often the whole was told, and what was deleted from it.
func (v *view) told() (fulls int, deleted []string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.fulls, slices.Clone(v.deleted)
}

// early reports whether a change was told before the whole.
func (v *view) early() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.partial
}

// first reports whether the whole was told before anything else, and nothing
// was lost since.
func (v *view) first() bool { return v.whole() && !v.early() }

// whole reports whether the whole was told once and nothing was lost since:
// at first, or when the peers had their time to speak.
func (v *view) whole() bool {
	fulls, deleted := v.told()
	return fulls == 1 && len(deleted) == 0
}

// ids gives the endpoints known as peers.
func (v *view) ids() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.peers))
}

func (v *view) String() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return fmt.Sprintf("calls %d, fulls %d, peers %v, records %d, deleted %v", v.calls, v.fulls, v.peers, len(v.records), v.deleted)
}

// eventually waits for ok and gives how long that took.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool, show ...fmt.Stringer) time.Duration {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v: %s; %v", limit, what, show)
		}
		<-tick.C
	}
	return time.Since(start)
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func addr(t *testing.T, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
