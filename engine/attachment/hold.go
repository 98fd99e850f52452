package attachment

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"weft/engine/fault"
	"weft/engine/kernel"
	"weft/engine/link"
	"weft/engine/model"
)

// namedDir is where ip-netns(8) has its namespaces.
const namedDir = "/run/netns"

// hold is the grip on a holder: it tells when the holder ends.
type hold struct {
	name    string            // what the attachment is called by default
	ns      *kernel.Namespace // nil with a TAP device
	process kernel.Process
	pidfd   *kernel.Pidfd  // of a process
	watch   *kernel.Watch  // of a namespace's path or a TAP device
	gone    func() bool    // by what watch hears
	closers []func() error // of all of these
}

func (h *hold) close() error {
	var errs []error
	for _, c := range h.closers {
		errs = append(errs, c())
	}
	h.closers = nil
	return errors.Join(errs...)
}

// await waits until the holder has ended. It fails when the hold is closed
// before.
func (h *hold) await() error {
	if h.pidfd != nil {
		return h.pidfd.Await()
	}
	return h.watch.Until(h.gone)
}

// completeNetNS finds the namespace that a name without slashes means.
func completeNetNS(req *model.AttachRequest) error {
	switch p := req.NetNS; {
	case p == "":
		return nil
	case !strings.Contains(p, "/"):
		req.NetNS = filepath.Join(namedDir, p)
	case !filepath.IsAbs(p):
		return fault.Invalid("namespace %s: give its absolute path, or its name under %s", p, namedDir)
	default:
		req.NetNS = filepath.Clean(p)
	}
	if strings.HasPrefix(req.NetNS, "/proc/") {
		return fault.Invalid("namespace %s lasts as long as a process: name that with --pid", req.NetNS)
	}
	return nil
}

// take gets hold of who is to be attached.
func (m *Manager) take(req model.AttachRequest) (*hold, error) {
	switch {
	case req.Pid != 0:
		return takeProcess(req.Pid)
	case req.NetNS != "":
		return takePath(req.NetNS)
	}
	if err := link.CheckTap(m.Host, req.Tap); err != nil {
		return nil, err
	}
	return m.takeTap(req.Tap)
}

// takeProcess opens the namespace a process is in. That the process still is
// the one asked for is known after that.
func takeProcess(pid int) (*hold, error) {
	gone := fault.NotFound("process %d: no such process", pid)
	process, err := kernel.Identify(pid)
	if err != nil {
		return nil, gone
	}
	ns, err := enterable(fmt.Sprintf("/proc/%d/ns/net", pid))
	if errdefs.IsNotFound(err) {
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	h, err := holdProcess(process)
	if errors.Is(err, os.ErrProcessDone) {
		err = gone
	}
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	h.ns, h.closers = ns, append(h.closers, ns.Close)
	return h, nil
}

// enterable opens a namespace that may be worked in.
func enterable(path string) (*kernel.Namespace, error) {
	ns, err := kernel.Open(path)
	if err == nil {
		if err = kernel.Do(ns, func() error { return nil }); err != nil {
			err = errors.Join(err, ns.Close())
		}
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fault.Forbidden("%w: that namespace is another user's than the engine's, which only an engine that runs as root can attach", err)
	}
	return ns, err
}

// holdProcess fails with os.ErrProcessDone when that process is gone.
func holdProcess(p kernel.Process) (*hold, error) {
	ref, err := kernel.OpenPidfd(p)
	if err != nil {
		return nil, err
	}
	return &hold{name: fmt.Sprintf("pid-%d", p.Pid), process: p, pidfd: ref, closers: []func() error{ref.Close}}, nil
}

// takePath opens the namespace at a path, which is gone when the path leads
// nowhere or elsewhere.
func takePath(path string) (*hold, error) {
	ns, err := enterable(path)
	if err != nil {
		return nil, err
	}
	w, err := kernel.WatchMounts()
	if err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return &hold{
		name: filepath.Base(path), ns: ns, watch: w, closers: []func() error{w.Close, ns.Close},
		gone: func() bool { return !leadsTo(path, ns) },
	}, nil
}

func leadsTo(path string, ns *kernel.Namespace) bool {
	now, err := kernel.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = now.Close() }()
	return now.Same(ns)
}

func (m *Manager) takeTap(name string) (*hold, error) {
	w, err := kernel.WatchLinks(m.Host)
	if err != nil {
		return nil, err
	}
	return &hold{
		name: name, watch: w, closers: []func() error{w.Close},
		gone: func() bool {
			has, err := link.HasTap(m.Host, name)
			return err == nil && !has
		},
	}, nil
}

// watch releases the attachment when its holder ends.
func (m *Manager) watch(e *entry, h *hold) {
	ended := make(chan struct{})
	stop := func() {
		_ = h.close()
		<-ended
	}
	m.mu.Lock()
	e.stop = stop
	m.mu.Unlock()
	m.done.Go(func() {
		err := h.await()
		close(ended)
		if err != nil || m.ctx.Err() != nil { // the hold was closed
			return
		}
		rec := m.snapshot(e)
		m.Log.InfoContext(m.ctx, "holder of an attachment has ended", "attachment_id", rec.ID, "network_id", rec.NetworkID, "name", rec.Name)
		if err := m.release(context.WithoutCancel(m.ctx), e, true); err != nil {
			m.Log.ErrorContext(m.ctx, "attachment not released", "attachment_id", rec.ID, "err", err)
		}
	})
}

// Restore reads the records and takes back the attachments whose holders are
// there. The others, and those that were being made, are left to Settle.
func (m *Manager) Restore(ctx context.Context) error {
	recs, err := m.Table.List()
	if err != nil {
		return err
	}
	for _, rec := range recs {
		e := &entry{rec: rec, stop: func() {}}
		h, err := m.retake(rec)
		if err != nil {
			m.Log.InfoContext(ctx, "attachment not taken back", "attachment_id", rec.ID, "network_id", rec.NetworkID, "name", rec.Name, "err", err)
		}
		e.gone = err != nil
		m.mu.Lock()
		m.all[rec.ID] = e
		m.mu.Unlock()
		if err == nil {
			m.watch(e, h)
		}
	}
	return nil
}

// errIncomplete is a crash in the middle of Attach.
var errIncomplete = errors.New("it was not complete")

// retake gets hold of a holder again; an error is that it is not there any
// more.
func (m *Manager) retake(rec Record) (*hold, error) {
	if !rec.Complete {
		return nil, errIncomplete
	}
	if rec.Tap != "" {
		has, err := link.HasTap(m.Host, rec.Tap)
		if err != nil {
			return nil, err
		}
		if !has {
			return nil, fault.NotFound("TAP device %s does not exist", rec.Tap)
		}
		return m.takeTap(rec.Tap)
	}
	held, err := kernel.Open(rec.Path) // gone after a reboot
	if err != nil {
		return nil, err
	}
	defer func() { _ = held.Close() }()
	if rec.Pid != 0 {
		return holdProcess(rec.Process)
	}
	h, err := takePath(rec.NetNS)
	if err != nil {
		return nil, err
	}
	if !h.ns.Same(held) {
		return nil, errors.Join(fault.NotFound("%s is another namespace now", rec.NetNS), h.close())
	}
	return h, nil
}

// Resume mends what goes with the legs that were taken back, once there are
// networks.
func (m *Manager) Resume() error {
	m.mu.Lock()
	var held []Record
	for _, e := range m.all {
		if !e.gone {
			held = append(held, e.rec)
		}
	}
	m.mu.Unlock()
	var errs []error
	for _, rec := range held {
		errs = append(errs, m.plugTap(rec), m.serve(rec))
	}
	return errors.Join(errs...)
}
