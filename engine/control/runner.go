package control

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/log"
	"github.com/moby/swarmkit/v2/manager/allocator/networkallocator"
	swarmnode "github.com/moby/swarmkit/v2/node"
	"google.golang.org/grpc"

	"weft/engine/fault"
)

// The delays between restarts of a failed node are dockerd's.
const (
	firstDelay = 100 * time.Millisecond
	lastDelay  = 30 * time.Second
)

// runner keeps one SwarmKit node running, from Init, Join or a start on saved
// state until Leave or Stop.
type runner struct {
	cfg       *Config
	localAddr string
	cancel    context.CancelFunc
	settled   chan struct{} // closed when the first attempt is ready or has failed
	done      chan struct{} // closed when run has returned

	mu       sync.Mutex // guards what follows
	conf     startConfig
	node     *swarmnode.Node
	id       string // of the node, once it has been ready
	exec     *executor
	conn     *grpc.ClientConn
	changed  chan struct{} // closed and replaced when conn changes
	ready    bool          // the running attempt is
	stopping bool
	err      error // why the last attempt ended
	refused  error // managers refuse our sessions
}

// startRunner makes the first attempt in the background; stop ends it.
func startRunner(cfg *Config, conf startConfig) (*runner, error) {
	local, err := localAddr(conf)
	if err != nil {
		return nil, err
	}
	r := &runner{
		cfg: cfg, conf: conf, localAddr: local,
		settled: make(chan struct{}), done: make(chan struct{}), changed: make(chan struct{}),
	}
	ctx := log.WithLogger(context.Background(), newSwarmLog(cfg.Log, r.refuse))
	ctx, r.cancel = context.WithCancel(ctx)
	go r.run(ctx)
	return r, nil
}

// localAddr is the address of this machine the swarm sees: the one listened
// at, or the one that routes to the manager.
func localAddr(conf startConfig) (string, error) {
	if conf.LocalAddr != "" {
		return conf.LocalAddr, nil
	}
	host, _, err := net.SplitHostPort(conf.ListenAddr)
	if err != nil {
		return "", fault.Invalid("could not parse listen address: %w", err)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return host, nil
	}
	c, err := net.Dial("udp", conf.RemoteAddr) //nolint:noctx // asks the routing table, sends nothing
	if err != nil {
		return "", fault.Unavailable("could not find local IP address: %w", err)
	}
	host, _, err = net.SplitHostPort(c.LocalAddr().String())
	return host, errors.Join(err, c.Close())
}

func (r *runner) run(ctx context.Context) {
	defer close(r.done)
	defer r.cancel()
	var settle sync.Once
	settled := func() { settle.Do(func() { close(r.settled) }) }
	defer settled()
	delay := firstDelay
	for first := true; ; first = false {
		wasReady, err := r.attempt(ctx, settled)
		stopping := r.ended(wasReady, err)
		if stopping || (first && !wasReady) {
			return
		}
		delay = min(2*delay, lastDelay)
		r.cfg.Log.WarnContext(ctx, "swarm node ended, starting it again", "delay", delay, "err", err)
		if pause(ctx, delay); ctx.Err() != nil {
			return
		}
	}
}

// ended notes the end of an attempt and says whether it was asked for.
func (r *runner) ended(wasReady bool, err error) (stopping bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.node, r.exec, r.ready = nil, nil, false
	r.err = lockedOr(err)
	if wasReady {
		// A promoted node may have drawn a manager that is just leaving; it
		// must not insist on that one.
		r.conf.joinAddr = ""
	}
	return r.stopping
}

// attempt runs one SwarmKit node to its end.
func (r *runner) attempt(ctx context.Context, settled func()) (wasReady bool, err error) {
	node, ex, err := r.begin(ctx)
	if err != nil {
		return false, err
	}
	watch, endWatch := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.followConn(watch, node) })
	wg.Go(func() { ex.serve(watch) })
	wg.Go(func() { ex.serveIngress(watch) })
	wg.Go(func() { r.seatNodes(watch) })
	exited := make(chan error, 1)
	wg.Go(func() { exited <- node.Err(context.WithoutCancel(ctx)) })
	defer wg.Wait()
	defer endWatch()
	select {
	case <-node.Ready():
	case err := <-exited:
		return false, err
	}
	if err := r.becameReady(); err != nil {
		r.cfg.Log.ErrorContext(ctx, "swarm membership is not saved", "err", err)
	}
	settled()
	return true, <-exited
}

func (r *runner) begin(ctx context.Context) (*swarmnode.Node, *executor, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping {
		return nil, nil, context.Canceled
	}
	ex := newExecutor(r.cfg, r)
	conf, err := r.nodeConfig(ex)
	if err != nil {
		return nil, nil, err
	}
	node, err := swarmnode.New(conf)
	if err != nil {
		return nil, nil, err
	}
	if r.conf.joinAddr != "" {
		r.conf.JoinInProgress = true
	}
	if err := saveState(r.cfg.StateDir, r.conf); err != nil {
		return nil, nil, err
	}
	if err := node.Start(ctx); err != nil {
		return nil, nil, err
	}
	r.node, r.exec, r.err, r.refused = node, ex, nil, nil
	return node, ex, nil
}

func (r *runner) nodeConfig(ex *executor) (*swarmnode.Config, error) {
	join := r.conf.joinAddr
	if join == "" && r.conf.JoinInProgress {
		// The engine ended while joining: go on, don't found a swarm.
		join = r.conf.RemoteAddr
	}
	c := &swarmnode.Config{
		StateDir:           r.cfg.StateDir,
		ForceNewCluster:    r.conf.forceNewCluster,
		ListenControlAPI:   r.cfg.controlSocket(),
		ListenRemoteAPI:    r.conf.ListenAddr,
		AdvertiseRemoteAPI: r.conf.AdvertiseAddr,
		NetworkConfig: &networkallocator.Config{
			DefaultAddrPool: r.conf.DefaultAddressPool,
			SubnetSize:      r.conf.SubnetSize,
			VXLANUDPPort:    r.conf.DataPathPort,
		},
		NetworkProvider:  newProvider(),
		JoinAddr:         join,
		JoinToken:        r.conf.joinToken,
		Executor:         ex,
		HeartbeatTick:    r.cfg.HeartbeatTick,
		ElectionTick:     r.cfg.ElectionTick,
		UnlockKey:        r.conf.unlockKey,
		AutoLockManagers: r.conf.autolock,
		PluginGetter:     noPlugins{},
	}
	if a := r.conf.availability; a != "" {
		v, ok := api.NodeSpec_Availability_value[strings.ToUpper(string(a))]
		if !ok {
			return nil, fault.Invalid("invalid Availability: %q", a)
		}
		c.Availability = api.NodeSpec_Availability(v)
	}
	return c, nil
}

// followConn keeps the connection to this node's own manager up to date.
func (r *runner) followConn(ctx context.Context, node *swarmnode.Node) {
	for conn := range node.ListenControlSocket(ctx) {
		r.setConn(conn)
	}
	r.setConn(nil)
}

func (r *runner) setConn(conn *grpc.ClientConn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conn == conn {
		return
	}
	r.conn = conn
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *runner) becameReady() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready, r.err, r.id = true, nil, r.node.NodeID()
	r.conf.forceNewCluster = false // once is enough, a restart must not do it again
	if !r.conf.JoinInProgress {
		return nil
	}
	r.conf.JoinInProgress = false
	return saveState(r.cfg.StateDir, r.conf)
}

// refuse notes that managers refuse our sessions.
func (r *runner) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refused == nil {
		r.refused = fmt.Errorf("this node was removed from its swarm (%w): leave the swarm on this node, then join again", err)
	}
}

// hostUp waits, until ctx ends, for the host to take up the membership.
func (r *runner) hostUp(ctx context.Context) error {
	v := r.view()
	if v.exec == nil {
		return v.err
	}
	return v.exec.host(ctx)
}

// wait blocks until the first attempt is ready or has failed.
func (r *runner) wait(ctx context.Context) error {
	select {
	case <-r.settled:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// pollEvery is how often the store of a fresh manager is asked for its first
// cluster object.
const pollEvery = 100 * time.Millisecond

// firstCluster waits until this node's manager answers and has its cluster
// object.
func (r *runner) firstCluster(ctx context.Context) (api.ControlClient, *api.Cluster, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		r.mu.Lock()
		conn, changed := r.conn, r.changed
		r.mu.Unlock()
		if conn != nil {
			c := api.NewControlClient(conn)
			cluster, err := theCluster(ctx, c)
			if err == nil || !errors.Is(err, errNoSwarm) {
				return c, cluster, err
			}
		}
		select {
		case <-changed:
		case <-tick.C:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// stop ends the node and waits for it. With keep the agent is not told to let
// go of its tasks: they stay as they are for the next start.
func (r *runner) stop(ctx context.Context, keep bool) error {
	r.mu.Lock()
	r.stopping = true
	node := r.node
	r.mu.Unlock()
	if node != nil && !keep {
		ctx, cancel := context.WithTimeout(ctx, stopTimeout)
		defer cancel()
		if err := node.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
			r.cfg.Log.WarnContext(ctx, "swarm node did not stop in time", "err", err)
		}
	}
	r.cancel()
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop swarm node: %w", ctx.Err())
	}
}
