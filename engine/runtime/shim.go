package runtime

import (
	"bufio"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// drainTimeout is how long after the end of the process its status waits
	// for the rest of its output; dockerd waits as long (daemon/monitor.go).
	drainTimeout = 2 * time.Second
	// clientTimeout is how long an attached client may then take for the rest.
	clientTimeout = 30 * time.Second
	// ctlFD is where an engine's shim and a shim's init find the connection
	// to their parent.
	ctlFD = 3
	// programFD is where the init of the built-in image finds the mount of the
	// program.
	programFD = 4
)

// shim is one container's supervisor.
type shim struct {
	*session // the container's first process
	bundle   bundle
	dir      string // bundle directory
	run      string // run directory
	now      func() time.Time
	log      *slog.Logger // to the file startShim gave
	spawner  *spawner
	cgroup   *cgroup // nil: the container has none
	conns    sync.WaitGroup

	listener *net.UnixListener
	quit     chan struct{} // closed when clients are not to be waited for
	quitOnce sync.Once

	execMu sync.Mutex // guards the following
	execs  map[string]*session
	ended  []*session // those of execs that have, oldest first
}

// ShimMain is a shim's whole life. args are the bundle and run directories;
// descriptor 3 is the connection to the engine that starts it. The result is
// the exit code.
func ShimMain(args []string) int {
	// The process must die with this one, and the kernel watches the thread
	// that made it: this goroutine keeps it.
	goruntime.LockOSThread()
	debug.SetGCPercent(25)
	debug.SetMemoryLimit(16 << 20)
	// Whoever ends the session or the service must not end the container.
	// Notify, unlike Ignore, is not inherited by the process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM, syscall.SIGPIPE)
	if len(args) != 2 {
		return 2
	}
	ctl, err := controlConn()
	if err != nil {
		return 1
	}
	defer func() { _ = ctl.Close() }()
	s := &shim{
		dir: args[0], run: args[1],
		log:   slog.New(slog.NewTextHandler(os.NewFile(uintptr(syscall.Stderr), "log"), nil)),
		now:   time.Now, //nolint:forbidigo // the entry of a process of its own: nothing could inject a clock
		quit:  make(chan struct{}),
		execs: map[string]*session{},
	}
	if err := s.prepare(); err != nil {
		_ = writeLine(ctl, started{Error: &ExecError{Msg: err.Error()}})
		return 1
	}
	if !s.start(ctl) {
		_ = os.Remove(filepath.Join(s.run, fileSocket))
		return 1
	}
	_ = ctl.Close()
	return s.supervise()
}

// controlConn is the connection to the parent, at ctlFD.
func controlConn() (net.Conn, error) {
	f := os.NewFile(ctlFD, "control")
	defer func() { _ = f.Close() }()
	return net.FileConn(f)
}

// prepare makes everything that exists before the process does.
func (s *shim) prepare() error {
	if err := readRecord(filepath.Join(s.dir, fileBundle), &s.bundle); err != nil {
		return err
	}
	log, err := openLog(s.dir, logLimit, s.now)
	if err != nil {
		return err
	}
	s.session = newSession(log)
	if s.stdio, err = openStdio(s.bundle.OpenStdin, s.bundle.Spec.Process.Terminal); err != nil {
		return err
	}
	if s.spawner, err = newSpawner(); err != nil {
		return err
	}
	self, err := identify(os.Getpid())
	if err != nil {
		return err
	}
	if err := writeRecord(filepath.Join(s.run, fileProcs), procsRecord{Shim: self}); err != nil {
		return err
	}
	if s.listener, err = listenSocket(s.run); err != nil {
		return err
	}
	s.conns.Add(1)
	go s.serveSocket()
	return nil
}

// start waits for the engine's word, starts the process and answers. Without
// the word, because the engine died, nothing has happened.
func (s *shim) start(ctl net.Conn) bool {
	in := bufio.NewReader(ctl)
	if _, err := ctl.Write([]byte(lineReady + "\n")); err != nil {
		return false
	}
	if line, err := in.ReadString('\n'); err != nil || strings.TrimSpace(line) != lineStart {
		return false
	}
	err := s.spawnFirst()
	if err == nil {
		err = s.recordStart()
	}
	if err != nil {
		s.kill()
		_ = s.cgroup.remove()
		var exec *ExecError
		if !errors.As(err, &exec) {
			exec = &ExecError{Msg: err.Error()}
		}
		_ = writeLine(ctl, started{Error: exec})
		return false
	}
	// An engine that is gone finds the container running when it comes back.
	_ = writeLine(ctl, started{Pid: s.proc.Pid})
	return true
}

// spawnFirst makes the container: a process in namespaces of its own, in a
// cgroup of its own.
func (s *shim) spawnFirst() error {
	var err error
	if s.cgroup, err = makeCgroup(s.bundle, s.log); err != nil {
		return err
	}
	return s.spawner.spawn(s.session, sandbox{Bundle: s.bundle, Root: filepath.Join(s.run, fileRoot)}, &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC,
	}, s.cgroup.add)
}

// recordStart makes the run known, on disk before to anyone.
func (s *shim) recordStart() error {
	var procs procsRecord
	path := filepath.Join(s.run, fileProcs)
	if err := readRecord(path, &procs); err != nil {
		return err
	}
	id, err := identify(s.proc.Pid)
	if err != nil {
		return err
	}
	procs.Init = id
	if err := writeRecord(path, procs); err != nil {
		return err
	}
	var run runRecord
	path = filepath.Join(s.dir, fileRun)
	if err := readRecord(path, &run); err != nil {
		return err
	}
	s.exit.Number = run.Number + 1
	return writeRecord(path, runRecord{Number: run.Number + 1, Pid: s.proc.Pid, Started: s.now()})
}

// supervise waits for the process, records its end, lets the clients have the
// rest of the output and ends.
func (s *shim) supervise() int {
	drained := s.pump()
	state, err := s.proc.Wait()
	s.exit.Status = exitStatus(state, err)
	s.exit.Status.Finished = s.now()
	s.exit.Status.OOMKilled = s.cgroup.outOfMemory()
	s.stdio.endInput()
	s.out.hurry(s.now().Add(clientTimeout))
	s.await(drained, drainTimeout)
	code := 0
	if err := s.cgroup.remove(); err != nil {
		code = 1
	}
	if err := writeRecord(filepath.Join(s.dir, fileExit), s.exit); err != nil {
		code = 1
		s.exit.Status.Err = err.Error()
	}
	close(s.done)
	s.await(drained, clientTimeout)
	s.out.end()
	_ = s.listener.Close()
	_ = os.Remove(filepath.Join(s.run, fileSocket))
	s.conns.Wait()
	return code
}

// await waits for the output to be delivered, but not longer than a timeout;
// told to quit, only until it is in the log.
func (s *shim) await(drained <-chan struct{}, timeout time.Duration) {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-drained:
		return
	case <-timer.C:
		return
	case <-s.quit:
		s.out.hurry(s.now())
	}
	select {
	case <-drained:
	case <-timer.C:
	}
}
