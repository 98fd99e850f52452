package engine

import (
	"context"
	"strings"

	"github.com/docker/docker/api/types/system"

	"weft/engine/containerd"
	"weft/engine/fault"
)

// What --runtime takes.
const (
	RuntimeAuto       = "auto"
	RuntimeEmbedded   = "embedded"
	RuntimeContainerd = "containerd"
)

// embeddedName is the embedded runtime's name on Docker's API; containerd's is
// Docker's own.
const embeddedName = "weft"

// runtimes are those a container of this engine can be made with. A container
// stays with the one it was made with.
type runtimes struct {
	byDefault string // name on Docker's API
	// containerd is where containers are made by containerd; nil: it can't be
	// used, and why says so.
	containerd *containerd.Ref
	version    string // of containerd
	why        error
}

// chooseRuntimes looks for containerd, unless told not to.
func (e *Engine) chooseRuntimes(ctx context.Context) (runtimes, error) {
	r := runtimes{byDefault: embeddedName}
	if e.cfg.Runtime == RuntimeEmbedded {
		r.why = fault.Unavailable("the engine was started with --runtime %s", RuntimeEmbedded)
		e.cfg.Log.InfoContext(ctx, "containers run by the embedded runtime", "reason", r.why)
		return r, nil
	}
	version, err := containerd.Usable(ctx, e.cfg.Containerd)
	switch {
	case err == nil:
		r.byDefault, r.version = containerd.RuntimeName, version
		r.containerd = &containerd.Ref{Address: e.cfg.Containerd, Namespace: "weft-" + e.id}
		e.cfg.Log.InfoContext(ctx, "containers run by containerd", "address", e.cfg.Containerd, "version", version)
	case e.cfg.Runtime == RuntimeContainerd:
		return r, fault.Unavailable("--runtime %s: %w; start containerd, name its socket with --containerd, or choose --runtime %s",
			RuntimeContainerd, err, RuntimeEmbedded)
	default:
		r.why = err
		e.cfg.Log.InfoContext(ctx, "containers run by the embedded runtime", "reason", err)
	}
	return r, nil
}

// of gives where the processes of a container with the named runtime are made;
// nil: by its shim.
func (r runtimes) of(name string) (*containerd.Ref, error) {
	switch name {
	case embeddedName:
		return nil, nil //nolint:nilnil // nil is an answer
	case containerd.RuntimeName:
		if r.containerd == nil {
			return nil, fault.Invalid("runtime %s can't be used: %w", name, r.why)
		}
		return r.containerd, nil
	}
	return nil, fault.Invalid("unknown or invalid runtime name: %s", name)
}

// info says which there are, as `docker info` has it.
func (r runtimes) info(info *system.Info, self string) {
	info.DefaultRuntime = r.byDefault
	info.Runtimes = map[string]system.RuntimeWithStatus{embeddedName: {Runtime: system.Runtime{Path: self}}}
	if r.containerd == nil {
		return
	}
	info.Runtimes[containerd.RuntimeName] = system.RuntimeWithStatus{Runtime: system.Runtime{Path: "runc"}}
	info.ContainerdCommit.ID = strings.TrimSpace(r.version)
	info.Containerd = &system.ContainerdInfo{
		Address: r.containerd.Address, Namespaces: system.ContainerdNamespaces{Containers: r.containerd.Namespace},
	}
}
