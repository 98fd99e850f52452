package attachment

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/model"
)

// Prefix begins the names of the held namespaces' mounts.
const Prefix = "att-"

// Networks gives legs on networks, to attachments as to containers.
type Networks interface {
	Check(ctx context.Context, req model.NetworkRequest) error
	Allocate(ctx context.Context, holderID string, req model.NetworkRequest) (model.Attachment, error)
	Release(ctx context.Context, ep model.Endpoint) error
	Join(ctx context.Context, nw model.Network, ep model.Endpoint) (model.Endpoint, error)
	Leave(ctx context.Context, ep model.Endpoint) error
}

// Names makes names known to who is attached.
type Names interface {
	// Serve tells of all endpoints of a sandbox.
	Serve(s Sandbox) error
	// Forget ends it, the traces of an earlier engine included.
	Forget(s Sandbox) error
	// Resolver gives where the names of an endpoint's network are asked for;
	// zero where there are none.
	Resolver(ep model.Endpoint) netip.Addr
}

// Sandbox is a namespace with attachments, or the virtual machines on one
// network.
type Sandbox struct {
	Key       string // the same for all attachments in it
	Path      string // of the namespace; empty with virtual machines
	Endpoints []model.Endpoint
}

// Table keeps the records over restarts.
type Table interface {
	Put(id string, r Record) error
	Delete(id string) error
	List() (map[string]Record, error)
}

// Config is what a Manager is made of. All fields are required.
type Config struct {
	Dir      string            // where held namespaces are mounted
	Host     *kernel.Namespace // the engine's own, in which TAP devices are made
	Networks Networks
	Names    Names
	Table    Table
	// Refuse says what speaks against attaching a namespace.
	Refuse func(ctx context.Context, ns *kernel.Namespace) error
	// Taken reports whether a container has a name.
	Taken   func(name string) bool
	Publish func(model.Event)
	Log     *slog.Logger
	Now     func() time.Time
}

// Record is what is kept of an attachment.
type Record struct {
	model.NetworkAttachment
	User     int            // owner of the TAP device
	Process  kernel.Process // the holder's; zero unless it is one
	Sandbox  string         // key of the sandbox
	Path     string         // where the namespace is mounted; empty with a TAP device
	Net      model.Network
	Endpoint model.Endpoint // zero until addresses are allocated
	MadeDir  bool           // with the file of ResolvConf its directory was made
	Complete bool           // all of it was made
}

// Manager owns the attachments of this node. It is safe for concurrent use.
type Manager struct {
	Config

	ctx    context.Context // ends with Close; bounds the watchers
	cancel context.CancelFunc
	done   sync.WaitGroup // the watchers

	naming sync.Mutex // held while a sandbox is told of its endpoints

	mu  sync.Mutex // guards the following and every entry's record
	all map[string]*entry
}

// entry is one attachment and what is going on with it.
type entry struct {
	op   sync.Mutex // held by whoever makes or releases it
	rec  Record
	gone bool   // its holder ended while no engine looked
	stop func() // ends the watch of its holder
}

// New makes a manager without attachments; call Restore before anything else.
func New(cfg Config) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	return &Manager{Config: cfg, ctx: ctx, cancel: cancel, all: map[string]*entry{}}
}

// Close stops watching. The attachments stay.
func (m *Manager) Close() {
	m.cancel()
	m.mu.Lock()
	stops := make([]func(), 0, len(m.all))
	for _, e := range m.all {
		stops = append(stops, e.stop)
	}
	m.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	m.done.Wait()
}

// List gives the attachments, the oldest first.
func (m *Manager) List() []model.NetworkAttachment {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []model.NetworkAttachment
	for _, e := range m.all {
		if e.rec.Complete && !e.gone {
			out = append(out, e.rec.NetworkAttachment)
		}
	}
	slices.SortFunc(out, func(a, b model.NetworkAttachment) int {
		if c := a.Created.Compare(b.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out
}

// Endpoints gives those of the attachments that are held.
func (m *Manager) Endpoints() []model.Endpoint {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []model.Endpoint
	for _, e := range m.all {
		if !e.gone && e.rec.Endpoint.ID != "" {
			out = append(out, e.rec.Endpoint)
		}
	}
	return out
}

// find gives the attachment of an ID or the beginning of one.
func (m *Manager) find(id string) (*entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.all[id]; e != nil {
		return e, nil
	}
	var found *entry
	for full, e := range m.all {
		switch {
		case id == "" || !strings.HasPrefix(full, id):
		case found != nil:
			return nil, fault.Invalid("attachment ID %s is the beginning of several: give more of it", id)
		default:
			found = e
		}
	}
	if found == nil {
		return nil, fault.NotFound("No such attachment: %s", id)
	}
	return found, nil
}

func (m *Manager) snapshot(e *entry) Record {
	m.mu.Lock()
	defer m.mu.Unlock()
	return e.rec
}

// update changes a record and saves it.
func (m *Manager) update(e *entry, f func(*Record)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&e.rec)
	return m.Table.Put(e.rec.ID, e.rec)
}

func (m *Manager) path(id string) string { return filepath.Join(m.Dir, Prefix+id[:12]) }

// sandbox gives the endpoints that share one, but for those of without.
func (m *Manager) sandbox(rec Record, without string) Sandbox {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Sandbox{Key: rec.Sandbox, Path: rec.Path}
	for _, id := range slices.Sorted(maps.Keys(m.all)) {
		e := m.all[id]
		if id != without && !e.gone && e.rec.Sandbox == rec.Sandbox && e.rec.Endpoint.ID != "" {
			s.Endpoints = append(s.Endpoints, e.rec.Endpoint)
		}
	}
	return s
}

// serve brings the names of a sandbox up to date.
func (m *Manager) serve(rec Record) error {
	m.naming.Lock()
	defer m.naming.Unlock()
	return m.Names.Serve(m.sandbox(rec, ""))
}

// forget leaves an attachment out of what its sandbox is served with.
func (m *Manager) forget(rec Record) error {
	m.naming.Lock()
	defer m.naming.Unlock()
	s := m.sandbox(rec, rec.ID)
	if len(s.Endpoints) == 0 {
		s.Endpoints = []model.Endpoint{rec.Endpoint}
		return m.Names.Forget(s)
	}
	return m.Names.Serve(s)
}

func (m *Manager) publishNetwork(rec Record, action string) {
	m.Publish(model.Event{
		Type: "network", Action: action, ActorID: rec.NetworkID, Scope: model.ScopeLocal,
		Attributes: map[string]string{"attachment": rec.ID, "name": rec.Network, "type": rec.Driver},
	})
}

// Detach releases one attachment, by its ID or the beginning of it.
func (m *Manager) Detach(ctx context.Context, id string) error {
	e, err := m.find(id)
	if err != nil {
		return err
	}
	return m.release(ctx, e, true)
}

// ReleaseAll ends the attachments on the networks that which is true for. With
// give the addresses go back to who allocated them; without they have lost
// their meaning.
func (m *Manager) ReleaseAll(ctx context.Context, give bool, which func(networkID string) bool) error {
	return m.releaseThose(ctx, give, func(e *entry) bool { return which(e.rec.NetworkID) })
}

// Settle ends the attachments whose holders have ended while no engine looked,
// on the networks that which is true for.
func (m *Manager) Settle(ctx context.Context, which func(networkID string) bool) error {
	return m.releaseThose(ctx, true, func(e *entry) bool { return e.gone && which(e.rec.NetworkID) })
}

func (m *Manager) releaseThose(ctx context.Context, give bool, those func(*entry) bool) error {
	m.mu.Lock()
	var list []*entry
	for _, e := range m.all {
		if those(e) {
			list = append(list, e)
		}
	}
	m.mu.Unlock()
	var errs []error
	for _, e := range list {
		errs = append(errs, m.release(ctx, e, give))
	}
	return errors.Join(errs...)
}
