package runtime

import (
	"cmp"
	"debug/elf"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"weft/engine/containerd"
	"weft/engine/fault"
	"weft/engine/kernel"
)

// The names this program is executed under. The binary's main hands the
// arguments after argv[0] to ShimMain and InitMain when the base name of
// argv[0] is one of the first two, and runs the probe when it is the third.
const (
	ShimName  = "weft-shim"
	InitName  = "weft-init"
	ProbeName = "probe"
)

// Config says where a Runtime keeps its containers. Every field but Containerd is required.
type Config struct {
	Dir    string // bundles and logs; persistent
	RunDir string // sockets; cleared by a reboot
	Self   string // this program's binary: shim, init and built-in image; statically linked
	// Containerd is where earlier containers of this Runtime may be besides
	// those it has records of; Sweep looks there. Nil: nowhere.
	Containerd *containerd.Ref
	Log        *slog.Logger
	Now        func() time.Time
	// CgroupParent is where the containers' cgroups are made; empty:
	// DefaultCgroupParent.
	CgroupParent string
}

// Runtime runs the containers of one engine. It is safe for concurrent use.
// One Runtime at a time may own a Dir.
type Runtime struct {
	cfg     Config
	reapers sync.WaitGroup

	mu       sync.Mutex // guards the fields below
	locks    map[string]*keyLock
	pending  map[string][]*attachment
	children map[*kernel.Pidfd]struct{}
	closed   bool
}

// New makes a Runtime over what is in cfg's directories, which it creates.
// Containers started by an earlier Runtime go on and are this one's now.
func New(cfg Config) (*Runtime, error) {
	if cfg.Dir == "" || cfg.RunDir == "" || cfg.Self == "" || cfg.Log == nil || cfg.Now == nil {
		return nil, fault.Invalid("runtime: Dir, RunDir, Self, Log and Now are required")
	}
	cfg.CgroupParent = cmp.Or(cfg.CgroupParent, DefaultCgroupParent)
	for _, dir := range []*string{&cfg.Dir, &cfg.RunDir} {
		abs, err := filepath.Abs(*dir)
		if err != nil {
			return nil, fmt.Errorf("make runtime directory: %w", err)
		}
		if err := os.MkdirAll(abs, 0o700); err != nil {
			return nil, fmt.Errorf("make runtime directory: %w", err)
		}
		*dir = abs
	}
	if err := checkStatic(cfg.Self); err != nil {
		return nil, err
	}
	return &Runtime{
		cfg:      cfg,
		locks:    map[string]*keyLock{},
		pending:  map[string][]*attachment{},
		children: map[*kernel.Pidfd]struct{}{},
	}, nil
}

// Close ends what the Runtime does in this process. Containers and their shims
// go on. Calls that are under way end when their contexts do.
func (r *Runtime) Close() error {
	r.mu.Lock()
	r.closed = true
	var errs []error
	for p := range r.children {
		errs = append(errs, p.Close())
	}
	r.mu.Unlock()
	r.reapers.Wait()
	return errors.Join(errs...)
}

// checkStatic refuses a binary that needs a dynamic loader: there is none in
// the sandbox, and the kernel would call it a missing file.
func checkStatic(path string) error {
	f, err := elf.Open(path)
	if err != nil {
		return fmt.Errorf("read own binary: %w", err)
	}
	defer func() { _ = f.Close() }()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fault.Unsupported("%s is dynamically linked and cannot run in a sandbox: build it with CGO_ENABLED=0", path)
		}
	}
	return nil
}

// reap collects the shim behind p when it ends, until the Runtime is closed.
func (r *Runtime) reap(p *kernel.Pidfd) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		_ = p.Close()
		return
	}
	r.children[p] = struct{}{}
	r.reapers.Add(1)
	go func() {
		defer r.reapers.Done()
		err := p.Reap()
		r.mu.Lock()
		closed := r.closed
		delete(r.children, p)
		r.mu.Unlock()
		_ = p.Close()
		if err != nil && !closed {
			r.cfg.Log.Warn("shim not reaped", "err", err)
		}
	}()
}

// keyLock is the lock of one container; users counts holders and waiters.
type keyLock struct {
	mu    sync.Mutex
	users int
}

// lock serializes the changes of one container: start and removal.
func (r *Runtime) lock(id string) (unlock func()) {
	r.mu.Lock()
	l := r.locks[id]
	if l == nil {
		l = &keyLock{}
		r.locks[id] = l
	}
	l.users++
	r.mu.Unlock()
	l.mu.Lock()
	return func() {
		l.mu.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(r.locks, id)
		}
	}
}
