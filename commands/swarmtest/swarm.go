// Package swarmtest is a Docker API with the state of a whole swarm behind it,
// for tests that run a workflow thousands of times: with each request failing
// in each way, and killed wherever it can be killed.
//
// It owns a model of what an operator sees through the API of a swarm's nodes:
// services and their tasks, networks and which node holds the ingress network,
// configs, nodes. Its answers (status, text, JSON) are those of Debian's
// dockerd 20.10.24; dockerd_test.go runs one script on both and compares. No
// container runs and no packet is sent: Answers tells which ports would.
//
// Time is a count of steps. Each request is one, Advance makes more, and what
// converges (a task's start, a node letting go of a network) takes as many as
// Pace says. Nothing happens between steps and nothing runs in the background,
// so the same requests always give the same answers.
//
// What Docker allows although it breaks swarms is allowed here too, breaks the
// model in the same way, and is written down: see Violations.
//
// Limits: no images, containers, secrets, volumes, plugins, jobs, placement
// constraints or resources; a spec's unknown fields are kept, as by a daemon
// that knows them, and only what is needed here is checked. IPv6 subnets are
// kept but no addresses are given from them.
package swarmtest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// Pace says how many steps it takes for what converges to do so. A step more
// or less can come from the order of events.
type Pace struct {
	Allocate int // a network or service, until it has addresses and ports
	Start    int // a scheduled task, until it is ready to run
	Stop     int // a task told to stop, until it has
	Join     int // a node, to take up a new ingress network
	Leave    int // a node, to let go of a removed one; the n-th node takes n more
	Monitor  int // an update whose tasks all run, until it counts as completed
}

// DefaultPace is quick, and lets every intermediate state be seen.
func DefaultPace() Pace {
	return Pace{Allocate: 1, Start: 1, Stop: 2, Join: 1, Leave: 1, Monitor: 1}
}

// StepLength is how much later it is after a step by the times in answers.
const StepLength = time.Second

// Option changes how a Swarm begins.
type Option func(*config)

type config struct {
	pace          Pace
	managers      int
	workers       int
	engine, api   string
	noIngress     bool
	pool          string
	subnetSize    int
	unknownFields bool
	busy          bool
}

// WithPace sets how fast things converge. The default is DefaultPace.
func WithPace(p Pace) Option { return func(c *config) { c.pace = p } }

// WithNodes sets how many nodes there are at first, named node1, node2 and so
// on; managers come first. The default is one manager and two workers.
func WithNodes(managers, workers int) Option {
	return func(c *config) { c.managers, c.workers = managers, workers }
}

// WithEngine sets which daemon the nodes say they are and the newest API
// version they accept. The default is "20.10.24+dfsg1" and "1.41", which the
// answers were compared with; with "1.44" or newer a network's name is always
// checked, and with "1.48" or newer networks tell EnableIPv4.
func WithEngine(version, api string) Option {
	return func(c *config) { c.engine, c.api = version, api }
}

// WithoutIngress begins without an ingress network.
func WithoutIngress() Option { return func(c *config) { c.noIngress = true } }

// WithUnknownFields gives the services of Busy fields that today's clients do
// not know, as after an upgrade of the daemons: a client that decodes and
// encodes a spec loses them.
func WithUnknownFields() Option { return func(c *config) { c.unknownFields = true } }

// Swarm is a swarm of several nodes, each with an API on a unix socket. It is
// safe for concurrent use.
type Swarm struct {
	tb  testing.TB
	cfg config

	mu         sync.Mutex // guards what follows
	step       int
	index      uint64
	ids        int
	nodes      []*node
	networks   []*network // of the swarm
	services   []*service
	tasks      []*task
	configs    []*configObject
	violations []string
	broken     map[string]bool // ports that do not answer, as "80/tcp"
	noQuorum   bool
	plans      []*plan
	log        []Request
	closing    chan struct{} // closed when what is held ends
}

// New gives a swarm whose nodes are ready and hold the default ingress
// network, 10.0.0.0/24. It ends with the test.
func New(tb testing.TB, opts ...Option) *Swarm {
	tb.Helper()
	cfg := config{
		pace: DefaultPace(), managers: 1, workers: 2, engine: "20.10.24+dfsg1", api: "1.41",
		pool: "10.0.0.0/8", subnetSize: 24,
	}
	for _, o := range opts {
		o(&cfg)
	}
	if cfg.managers < 1 {
		tb.Fatal("a swarm needs a manager")
	}
	s := &Swarm{tb: tb, cfg: cfg, broken: map[string]bool{}, closing: make(chan struct{})}
	for i := range cfg.managers + cfg.workers {
		role := "manager"
		if i >= cfg.managers {
			role = "worker"
		}
		s.addNode(fmt.Sprintf("node%d", i+1), role)
	}
	if !cfg.noIngress {
		s.networks = append(s.networks, s.newNetwork(object{"Name": "ingress", "Ingress": true}))
		s.settle()
		s.lead()
		s.settle()
	}
	if err := s.listen(s.nodes[0]); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.close)
	if cfg.busy {
		s.fill()
	}
	return s
}

// Host gives the address of the first manager's API for --host.
func (s *Swarm) Host() string { return "unix://" + s.Socket() }

// Socket gives the path of the first manager's socket.
func (s *Swarm) Socket() string { return s.NodeSocket(s.nodes[0].hostname) }

// NodeSocket gives the path of the socket of a node's own API, which shows
// that node's view: a worker's knows its local networks and nothing of the
// swarm. It exists from the first call on.
func (s *Swarm) NodeSocket(hostname string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.node(hostname)
	if n == nil {
		s.tb.Errorf("no node %s", hostname)
		return ""
	}
	if n.socket == "" {
		if err := s.listen(n); err != nil {
			s.tb.Error(err)
		}
	}
	return n.socket
}

// Advance lets n steps pass.
func (s *Swarm) Advance(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for range n {
		s.tick()
	}
}

// Sleep lets as many steps pass as a duration has, at least one, instead of
// waiting: it is for the clock of what is tested.
func (s *Swarm) Sleep(ctx context.Context, d time.Duration) error {
	s.Advance(max(1, int(d/StepLength)))
	return ctx.Err()
}

// Now gives the time in the swarm.
func (s *Swarm) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// Settle lets steps pass until nothing changes any more.
func (s *Swarm) Settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
}

// quiet is for how many steps nothing may change before the swarm has settled:
// longer than anything waits.
func (c config) quiet() int {
	p := c.pace
	return 4 + max(p.Allocate, p.Start, p.Stop, p.Join, p.Leave+c.managers+c.workers, p.Monitor)
}

// settle gives up after many steps: a task that can't run is tried for ever.
func (s *Swarm) settle() {
	const most = 2000
	still := 0
	for range most {
		before := s.fingerprint()
		s.tick()
		if still++; before != s.fingerprint() {
			still = 0
		}
		if still > s.cfg.quiet() {
			return
		}
	}
}

// fingerprint changes whenever the state does, but for countdowns.
func (s *Swarm) fingerprint() string {
	var local []string
	for _, n := range s.nodes {
		if n.local != nil {
			local = append(local, n.hostname+n.local.id)
		}
	}
	return fmt.Sprint(s.index, local)
}

// Violations gives what was done to the swarm that Docker allows and that
// breaks it, one line each, in order:
//
//	premature removal: …    the ingress network, while a task that has not
//	                        ended is attached to it
//	premature creation: …   an ingress network, while a node that is up still
//	                        holds the old one
func (s *Swarm) Violations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.violations)
}

func (s *Swarm) now() time.Time {
	return time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(s.step) * StepLength)
}

// tick is one step of everything.
func (s *Swarm) tick() {
	s.step++
	for _, n := range s.networks {
		s.allocateNetwork(n)
	}
	for _, v := range s.services {
		s.allocateService(v)
		s.orchestrate(v)
	}
	for _, t := range s.tasks {
		s.advanceTask(t)
	}
	s.reapTasks()
	for i, n := range s.nodes {
		s.advanceNode(i, n)
	}
}

// meta is what every object of a swarm has.
type meta struct {
	id               string
	version          uint64
	created, updated time.Time
}

func (s *Swarm) newMeta() meta {
	s.index++
	return meta{id: s.newID(), version: s.index, created: s.now(), updated: s.now()}
}

// touch notes that an object was written, which makes older versions of it
// useless for an update.
func (s *Swarm) touch(m *meta) {
	s.index++
	m.version, m.updated = s.index, s.now()
}

func (m *meta) json() object {
	return object{
		"ID": m.id, "Version": object{"Index": m.version},
		"CreatedAt": stamp(m.created), "UpdatedAt": stamp(m.updated),
	}
}

func stamp(t time.Time) string { return t.Format(time.RFC3339Nano) }
