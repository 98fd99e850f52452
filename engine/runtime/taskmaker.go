package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"weft/engine/containerd"
	"weft/engine/kernel"
	"weft/engine/model"
)

// What a run directory has for containerd besides.
const (
	fileTask   = "task.json" // the containerd.Ref, while there may be something to purge
	dirStreams = "io"        // a directory of FIFOs for each process
	dirRunc    = "runc"      // runc's state
)

// The names of the directories below dirStreams.
const (
	firstStreams = "first"
	execStreams  = "exec-" // and the ID
)

const (
	// makeTimeout bounds the making of a process by containerd.
	makeTimeout = 2 * time.Minute
	// askTimeout bounds what else is asked of it.
	askTimeout = 10 * time.Second
)

// taskMaker has containerd make a container's processes. This shim holds their
// streams, logs them and records how they end. They do not end with it: the
// next shim adopts them.
type taskMaker struct {
	bundle bundle
	run    string // run directory
	log    *slog.Logger
	client *containerd.Client
	pid    int // of the first process
}

func newTaskMaker(s *shim) (*taskMaker, error) {
	client, err := containerd.Open(*s.bundle.Containerd)
	if err != nil {
		return nil, err
	}
	return &taskMaker{bundle: s.bundle, run: s.run, log: s.log, client: client}, nil
}

func (m *taskMaker) streams(name string) fifos { return fifos{filepath.Join(m.run, dirStreams, name)} }

// first makes the container. What an error leaves is release's.
func (m *taskMaker) first(s *session) error {
	ctx, cancel := context.WithTimeout(context.Background(), makeTimeout)
	defer cancel()
	box, err := m.forRunc(filepath.Join(m.run, fileRoot))
	if err != nil {
		return err
	}
	p := m.process("", m.streams(firstStreams))
	streams, err := p.pipes.make(m.bundle.OpenStdin, m.bundle.Spec.Process.Terminal)
	if err != nil {
		return err
	}
	if s.stdio, err = p.pipes.open(); err != nil {
		return err
	}
	if _, err := m.client.Answers(ctx); err != nil {
		return err
	}
	if err := writeRecord(filepath.Join(m.run, fileTask), m.bundle.Containerd); err != nil {
		return err
	}
	m.pid, err = m.client.Create(ctx, containerd.Container{
		ID: m.bundle.ID, Spec: box.spec, Root: box.root, Streams: streams, RuncDir: filepath.Join(m.run, dirRunc),
	})
	if err != nil {
		return taskError(err)
	}
	if p.proc, err = kernel.Identify(m.pid); err != nil {
		return err
	}
	if err := p.openInput(s); err != nil {
		return err
	}
	if _, err := m.client.Start(ctx, p.name); err != nil {
		return taskError(err)
	}
	s.run(p)
	return nil
}

// adopt takes the processes back that an earlier shim had made.
func (m *taskMaker) adopt(s *session, first kernel.Process) (execs map[string]*session, err error) {
	m.pid = first.Pid
	if err := m.adoptOne(s, "", firstStreams, first); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(m.run, dirStreams))
	if err != nil {
		return nil, err
	}
	execs = map[string]*session{}
	for _, e := range entries {
		id, ok := strings.CutPrefix(e.Name(), execStreams)
		if !ok {
			continue
		}
		var proc kernel.Process
		if err := readRecord(m.streams(e.Name()).path(fileProcs), &proc); err != nil {
			return nil, err
		}
		further := newSession(nil)
		if err := m.adoptOne(further, id, e.Name(), proc); err != nil {
			return nil, err
		}
		close(further.ready)
		execs[id] = further
	}
	return execs, nil
}

func (m *taskMaker) adoptOne(s *session, exec, streams string, proc kernel.Process) (err error) {
	p := m.process(exec, m.streams(streams))
	p.proc = proc
	if s.stdio, err = p.pipes.open(); err != nil {
		return err
	}
	if proc.Alive() { // else nobody reads it
		if err := p.openInput(s); err != nil {
			return err
		}
	}
	s.run(p)
	return nil
}

// further makes a process in the container.
func (m *taskMaker) further(e *session, id string, spec model.ExecSpec) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("invalid process ID %q", id)
	}
	p := m.process(id, m.streams(execStreams+id))
	err := m.startFurther(e, p, spec)
	if err == nil {
		e.run(p)
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	if err := errors.Join(m.client.Delete(ctx, p.name), p.pipes.close(&e.stdio)); err != nil {
		m.log.Warn("process not cleaned up", "err", err)
	}
	return taskError(err)
}

func (m *taskMaker) startFurther(e *session, p *taskProcess, spec model.ExecSpec) error {
	ctx, cancel := context.WithTimeout(context.Background(), makeTimeout)
	defer cancel()
	process, err := furtherForRunc(m.bundle.with(spec), m.pid)
	if err != nil {
		return err
	}
	if spec.Rows > 0 {
		process.ConsoleSize = &specs.Box{Height: uint(spec.Rows), Width: uint(spec.Cols)}
	}
	streams, err := p.pipes.make(spec.Stdin, spec.TTY)
	if err != nil {
		return err
	}
	if e.stdio, err = p.pipes.open(); err != nil {
		return err
	}
	if err := m.client.Exec(ctx, p.name, process, streams); err != nil {
		return err
	}
	pid, err := m.client.Start(ctx, p.name)
	if err != nil {
		return err
	}
	if p.proc, err = kernel.Identify(pid); err != nil {
		p.proc = kernel.Process{Pid: pid} // it has ended already
	}
	if err := writeRecord(p.pipes.path(fileProcs), p.proc); err != nil {
		return err
	}
	return p.openInput(e)
}

// retire makes containerd forget a further process.
func (m *taskMaker) retire(e *session) {
	p, ok := e.running().(*taskProcess)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	if err := errors.Join(m.client.Delete(ctx, p.name), p.pipes.close(&e.stdio)); err != nil {
		m.log.Warn("process not cleaned up", "err", err)
	}
}

// outOfMemory asks the kernel: containerd's event is lost with containerd.
func (m *taskMaker) outOfMemory() bool {
	return loadCgroup(m.bundle.Spec.Linux.CgroupsPath).outOfMemory()
}

func (m *taskMaker) release() error {
	if !adoptable(m.run) {
		return os.RemoveAll(filepath.Join(m.run, dirStreams)) // it did not come to anything
	}
	ctx, cancel := context.WithTimeout(context.Background(), makeTimeout)
	defer cancel()
	if _, err := m.client.Answers(ctx); err != nil {
		return err // it stays on record that there is something
	}
	return purgeTask(ctx, m.client, m.bundle.Spec.Linux.CgroupsPath, m.run)
}

// purgeTask removes what containerd has of a run, and then what says that it
// has something. The output that waits in FIFOs stays for who has them open.
func purgeTask(ctx context.Context, client *containerd.Client, cgroup, run string) error {
	if err := client.Purge(ctx, path.Base(cgroup)); err != nil {
		return err
	}
	if err := loadCgroup(cgroup).remove(); err != nil {
		return err
	}
	return errors.Join(
		os.RemoveAll(filepath.Join(run, dirStreams)),
		os.RemoveAll(filepath.Join(run, dirRunc)),
		os.Remove(filepath.Join(run, fileTask)))
}

// taskError makes an *ExecError of runc's words for a command that could not
// be executed, with the code Docker has for it (daemon/errors.go).
func taskError(err error) error {
	why := containerd.ExecFailure(err)
	if why == "" {
		return err
	}
	e := &ExecError{Msg: why}
	switch {
	case !strings.HasPrefix(why, "exec: "):
	case strings.Contains(why, "not found in $PATH"), strings.Contains(why, "no such file or directory"):
		e.Code = codeNotFound
	default:
		e.Code = codeNotExecutable
	}
	return e
}
