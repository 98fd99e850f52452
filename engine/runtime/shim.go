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

	"weft/engine/kernel"
	"weft/engine/model"
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
	maker    maker
	conns    sync.WaitGroup

	listener *net.UnixListener
	quit     chan struct{} // closed when clients are not to be waited for
	quitOnce sync.Once

	execMu sync.Mutex // guards the following
	execs  map[string]*session
	ended  []*session // those of execs that have, oldest first
}

// maker makes a container's processes: this program, or containerd.
type maker interface {
	// first makes the container around its first process and lets it run.
	first(s *session) error
	// adopt takes back what an earlier shim of the container made.
	adopt(s *session, first kernel.Process) (execs map[string]*session, err error)
	// further makes a process in the container. An *ExecError says why not.
	further(e *session, id string, spec model.ExecSpec) error
	// retire lets go what a further process had that has ended.
	retire(e *session)
	outOfMemory() bool
	// release removes what the container had besides its processes, which have
	// ended.
	release() error
}

// adopting, as a third argument, makes a shim one that takes over from another
// that died.
const adopting = "adopt"

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
	if len(args) != 2 && (len(args) != 3 || args[2] != adopting) {
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
	begin := s.start
	if len(args) == 3 {
		begin = s.adopt
	}
	if err := s.prepare(); err != nil {
		_ = writeLine(ctl, started{Error: &ExecError{Msg: err.Error()}})
		return 1
	}
	if !begin(ctl) {
		_ = os.Remove(filepath.Join(s.run, fileSocket))
		return 1
	}
	_ = ctl.Close()
	// What only the start took goes back to the system.
	debug.FreeOSMemory()
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
	if s.maker, err = s.newMaker(); err != nil {
		return err
	}
	var procs procsRecord
	if err := readRecord(filepath.Join(s.run, fileProcs), &procs); err != nil {
		return err
	}
	if procs.Shim, err = kernel.Identify(os.Getpid()); err != nil {
		return err
	}
	if err := writeRecord(filepath.Join(s.run, fileProcs), procs); err != nil {
		return err
	}
	return nil
}

// listen begins to answer on the socket.
func (s *shim) listen() (err error) {
	// A shim that died has left its own.
	if err := os.Remove(filepath.Join(s.run, fileSocket)); err != nil && !errors.Is(err, os.ErrNotExist) {
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
	if err := s.listen(); err != nil {
		_ = writeLine(ctl, started{Error: &ExecError{Msg: err.Error()}})
		return false
	}
	if _, err := ctl.Write([]byte(lineReady + "\n")); err != nil {
		return false
	}
	if line, err := in.ReadString('\n'); err != nil || strings.TrimSpace(line) != lineStart {
		return false
	}
	err := s.maker.first(s.session)
	close(s.ready)
	var run runRecord
	if err == nil {
		run, err = s.recordStart()
	}
	if err != nil {
		s.kill()
		_ = s.maker.release()
		var exec *ExecError
		if !errors.As(err, &exec) {
			exec = &ExecError{Msg: err.Error()}
		}
		_ = writeLine(ctl, started{Error: exec})
		return false
	}
	// An engine that is gone finds the container running when it comes back.
	_ = writeLine(ctl, started{Pid: run.Pid})
	return true
}

// adopt goes on with the run of a shim that died.
func (s *shim) adopt(ctl net.Conn) bool {
	err := s.takeOver()
	close(s.ready)
	if err == nil {
		err = s.listen()
	}
	if err != nil {
		_ = writeLine(ctl, started{Error: &ExecError{Msg: err.Error()}})
		return false
	}
	_, _ = ctl.Write([]byte(lineReady + "\n"))
	return true
}

func (s *shim) takeOver() error {
	var run runRecord
	if err := readRecord(filepath.Join(s.dir, fileRun), &run); err != nil {
		return err
	}
	var procs procsRecord
	if err := readRecord(filepath.Join(s.run, fileProcs), &procs); err != nil {
		return err
	}
	s.exit.Number = run.Number
	execs, err := s.maker.adopt(s.session, procs.Init)
	if err != nil {
		return err
	}
	s.execMu.Lock()
	defer s.execMu.Unlock()
	for id, e := range execs {
		s.execs[id] = e
		s.follow(e)
	}
	return nil
}

// newMaker gives what makes this container's processes.
func (s *shim) newMaker() (maker, error) {
	if s.bundle.Containerd != nil {
		return newTaskMaker(s)
	}
	return newSandboxMaker(s)
}

// recordStart makes the run known, on disk before to anyone.
func (s *shim) recordStart() (run runRecord, err error) {
	var procs procsRecord
	path := filepath.Join(s.run, fileProcs)
	if err := readRecord(path, &procs); err != nil {
		return run, err
	}
	if procs.Init, err = s.proc.id(); err != nil {
		return run, err
	}
	if err := writeRecord(path, procs); err != nil {
		return run, err
	}
	path = filepath.Join(s.dir, fileRun)
	if err := readRecord(path, &run); err != nil {
		return run, err
	}
	run = runRecord{Number: run.Number + 1, Pid: procs.Init.Pid, Started: s.now()}
	s.exit.Number = run.Number
	return run, writeRecord(path, run)
}

// supervise waits for the process, records its end, lets the clients have the
// rest of the output and ends.
func (s *shim) supervise() int {
	drained := s.pump()
	s.exit.Status = s.stamped(s.proc.wait())
	s.exit.Status.OOMKilled = s.maker.outOfMemory()
	s.proc.endInput()
	s.out.hurry(s.now().Add(clientTimeout))
	s.await(drained, drainTimeout)
	code := 0
	// First the record: with the rest the process may be forgotten.
	if err := writeRecord(filepath.Join(s.dir, fileExit), s.exit); err != nil {
		code = 1
		s.exit.Status.Err = err.Error()
	}
	if err := s.maker.release(); err != nil {
		s.log.Error("container not cleaned up", "err", err)
		code = 1
	}
	close(s.done)
	s.await(drained, clientTimeout)
	s.out.end()
	_ = s.listener.Close()
	_ = os.Remove(filepath.Join(s.run, fileSocket))
	s.conns.Wait()
	return code
}

// stamped gives a status its time, unless the process's maker knows it better.
func (s *shim) stamped(st model.ExitStatus) model.ExitStatus {
	if st.Finished.IsZero() {
		st.Finished = s.now()
	}
	return st
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
