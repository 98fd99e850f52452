package runtime

import (
	"bufio"
	"errors"
	"fmt"
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
	// programFD is where a shim's init finds the mount of the program.
	programFD = 4
)

// shim is one container's supervisor.
type shim struct {
	bundle bundle
	dir    string // bundle directory
	run    string // run directory
	now    func() time.Time
	out    *fanout
	stdio  stdio
	conns  sync.WaitGroup

	listener *net.UnixListener
	done     chan struct{} // closed when exit is known and on disk
	exit     exitRecord    // set before done is closed
	quit     chan struct{} // closed when clients are not to be waited for
	quitOnce sync.Once

	mu   sync.Mutex  // guards proc
	proc *os.Process // nil until it exists; changed by the main goroutine only
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
		now:  time.Now, //nolint:forbidigo // the entry of a process of its own: nothing could inject a clock
		done: make(chan struct{}),
		quit: make(chan struct{}),
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
	s.out = newFanout(log)
	if s.stdio, err = openStdio(s.bundle.OpenStdin); err != nil {
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
	go s.serve()
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
	err := s.spawn()
	if err == nil {
		err = s.recordStart()
	}
	if err != nil {
		if s.proc != nil {
			_ = s.proc.Kill()
			_, _ = s.proc.Wait()
		}
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

// spawn makes the process: a child in namespaces of its own that becomes it.
func (s *shim) spawn() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("start container process: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "init"), os.NewFile(uintptr(pair[1]), "shim")
	defer func() { _ = ours.Close() }()
	program, err := cloneProgram()
	if err != nil {
		_ = theirs.Close()
		return err
	}
	defer func() { _ = program.Close() }()
	proc, err := os.StartProcess("/proc/self/exe", []string{InitName}, &os.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1"},
		Files: []*os.File{s.stdio.stdin.theirs, s.stdio.stdout.theirs, s.stdio.stderr.theirs, theirs, program},
		Sys: &syscall.SysProcAttr{
			Setsid: true,
			Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS |
				unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP,
		},
	})
	_ = theirs.Close()
	s.stdio.closeTheirs()
	if err != nil {
		return fmt.Errorf("start container process: make its namespaces: %w", err)
	}
	s.mu.Lock()
	s.proc = proc
	s.mu.Unlock()
	if err := writeLine(ours, sandbox{Bundle: s.bundle, Root: filepath.Join(s.run, fileRoot)}); err != nil {
		return fmt.Errorf("start container process: %w", err)
	}
	// The descriptor closes when the process is executed.
	failed := started{Error: &ExecError{}}
	if readLine(bufio.NewReader(ours), &failed) == nil {
		return failed.Error
	}
	return nil
}

// cloneProgram gives a mount of this program's file that is attached nowhere.
// The process puts it into its root: from a mount namespace of its own it can
// bind nothing of ours, and /proc/self/exe is ours there.
func cloneProgram() (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc/self/exe", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("start container process: take this program along: %w", err)
	}
	return os.NewFile(uintptr(fd), "program"), nil
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
	var pumps sync.WaitGroup
	pumps.Add(2)
	go func() { defer pumps.Done(); s.out.pump(streamStdout, s.stdio.stdout.ours) }()
	go func() { defer pumps.Done(); s.out.pump(streamStderr, s.stdio.stderr.ours) }()
	drained := make(chan struct{})
	go func() { defer close(drained); pumps.Wait() }()

	state, err := s.proc.Wait()
	s.exit.Status = exitStatus(state, err)
	s.exit.Status.Finished = s.now()
	_ = s.stdio.stdin.ours.Close() // nil without standard input, which Close takes
	s.out.hurry(s.now().Add(clientTimeout))
	s.await(drained, drainTimeout)
	code := 0
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

// exitStatus gives Docker's number for how a process ended.
func exitStatus(state *os.ProcessState, err error) model.ExitStatus {
	if err != nil {
		return model.ExitStatus{Code: codeLost, Err: fmt.Sprintf("wait for container process: %v", err)}
	}
	ws, ok := state.Sys().(syscall.WaitStatus)
	if ok && ws.Signaled() {
		return model.ExitStatus{Code: codeSignal + int(ws.Signal())}
	}
	return model.ExitStatus{Code: state.ExitCode()}
}
