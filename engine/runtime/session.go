package runtime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
)

// session is one process of a container with its streams: the first one, or a
// further one (exec).
type session struct {
	out   *fanout
	stdio stdio
	ready chan struct{} // closed when stdio is as it stays: the process exists or never will
	done  chan struct{} // closed when exit is known, and on disk for the first process
	exit  exitRecord    // set before done is closed

	mu   sync.Mutex // guards proc
	proc process    // nil until it exists
}

// process is what a session runs: a child of this one, or a process of
// containerd's.
type process interface {
	id() (kernel.Process, error)
	// wait blocks until the process has ended. It is called once.
	wait() model.ExitStatus
	// signal fails with os.ErrProcessDone when the process has ended.
	signal(sig syscall.Signal) error
	resize(rows, cols uint16) error // without a terminal nothing happens
	endInput()                      // a terminal's has no end
}

// run makes proc the session's process.
func (s *session) run(proc process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.proc = proc
}

// running gives the session's process; nil: it does not exist yet.
func (s *session) running() process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}

func newSession(log *logWriter) *session {
	return &session{out: newFanout(log), ready: make(chan struct{}), done: make(chan struct{})}
}

// spawner makes processes that become a container's.
type spawner struct {
	program *os.File // this program, where no container can write it
}

// newSpawner takes this program's file out of everybody's reach: a container
// that gets hold of a process of ours by /proc can't write the file behind it
// (CVE-2019-5736).
func newSpawner() (*spawner, error) {
	program, err := cloneProgram()
	if err != nil {
		return nil, err
	}
	// Above the descriptors a child is given, which take the lowest numbers.
	const high = 64
	fd, err := unix.FcntlInt(program.Fd(), unix.F_DUPFD_CLOEXEC, high)
	_ = program.Close()
	if err != nil {
		return nil, fmt.Errorf("start container process: %w", err)
	}
	return &spawner{program: os.NewFile(uintptr(fd), "program")}, nil
}

// cloneProgram gives a read-only mount of this program's file that is attached
// nowhere. The built-in image's root is made with it: from a mount namespace of
// its own a process can bind nothing of ours.
func cloneProgram() (*os.File, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, "/proc/self/exe", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("start container process: take this program along: %w", err)
	}
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV}
	if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("start container process: take this program along: %w", err)
	}
	return os.NewFile(uintptr(fd), "program"), nil
}

// spawn starts a process and sees it through to its command. placed is called
// when it exists and waits for box. An *ExecError says why there is no command;
// the process ends by itself then.
func (p *spawner) spawn(s *session, box sandbox, sys *syscall.SysProcAttr, placed func(pid int) error) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("start container process: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "init"), os.NewFile(uintptr(pair[1]), "shim")
	conn, err := net.FileConn(ours)
	_ = ours.Close()
	if err != nil {
		_ = theirs.Close()
		return fmt.Errorf("start container process: %w", err)
	}
	ctl, _ := conn.(*net.UnixConn)
	defer func() { _ = ctl.Close() }()
	files := []*os.File{s.stdio.stdin.theirs, s.stdio.stdout.theirs, s.stdio.stderr.theirs, theirs}
	if box.Bundle.builtin() && !box.Joined {
		program, err := cloneProgram()
		if err != nil {
			_ = theirs.Close()
			return err
		}
		defer func() { _ = program.Close() }()
		files = append(files, program)
	}
	proc, err := os.StartProcess("/proc/self/fd/"+strconv.FormatUint(uint64(p.program.Fd()), 10), []string{InitName}, &os.ProcAttr{
		Dir: "/", Env: []string{"GOMAXPROCS=1"}, Files: files, Sys: sys,
	})
	_ = theirs.Close()
	s.stdio.closeTheirs()
	if err != nil {
		return fmt.Errorf("start container process: make its namespaces: %w", err)
	}
	s.run(&child{proc: proc, io: &s.stdio})
	if err := placed(proc.Pid); err != nil {
		return err
	}
	if err := writeLine(ctl, box); err != nil {
		return fmt.Errorf("start container process: %w", err)
	}
	return s.converse(ctl, box.Bundle.Spec.Process.Terminal)
}

// converse waits until the command is executed: the connection ends then.
func (s *session) converse(ctl *net.UnixConn, terminal bool) error {
	var first []byte
	if terminal {
		var err error
		s.stdio.console, first, err = receiveConsole(ctl)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	failed := started{Error: &ExecError{}}
	if readLine(bufio.NewReader(io.MultiReader(bytes.NewReader(first), ctl)), &failed) == nil {
		return failed.Error
	}
	return nil
}

// kill ends the process, if there is one, and collects it.
func (s *session) kill() {
	if s.proc != nil {
		_ = s.proc.signal(syscall.SIGKILL)
		s.proc.wait()
	}
}

// pump delivers the output until it ends.
func (s *session) pump() (drained <-chan struct{}) {
	var pumps sync.WaitGroup
	if s.stdio.console != nil {
		pumps.Go(func() { s.out.pump(streamStdout, s.stdio.console) })
	} else {
		pumps.Go(func() { s.out.pump(streamStdout, s.stdio.stdout.ours) })
		if s.stdio.stderr.ours != nil {
			pumps.Go(func() { s.out.pump(streamStderr, s.stdio.stderr.ours) })
		}
	}
	done := make(chan struct{})
	go func() { defer close(done); pumps.Wait() }() // ends when the last holder of the streams does
	return done
}

// signal sends a signal to the process.
func (s *session) signal(sig syscall.Signal) reply {
	proc := s.running()
	if proc == nil {
		return reply{Gone: true}
	}
	err := proc.signal(sig)
	switch {
	case errors.Is(err, os.ErrProcessDone), errors.Is(err, syscall.ESRCH):
		return reply{Gone: true}
	case err != nil:
		return reply{Error: err.Error()}
	}
	return reply{}
}

// resize tells the process how large its terminal is.
func (s *session) resize(rows, cols uint16) reply {
	proc := s.running()
	if proc == nil {
		return reply{}
	}
	if err := proc.resize(rows, cols); err != nil {
		return reply{Error: err.Error()}
	}
	return reply{}
}

// attach sends output from now on and takes standard input, until the output
// has ended, or the process where no output is wanted, or the client is gone.
func (s *session) attach(conn *net.UnixConn, in *bufio.Reader, req request) {
	if c, ok := s.admit(conn, req); ok {
		s.serve(c, in, req)
	}
}

// admit adds a client and tells it so.
func (s *session) admit(conn *net.UnixConn, req request) (*client, bool) {
	c := &client{conn: conn, stdout: req.Stdout, stderr: req.Stderr, gone: make(chan struct{})}
	s.out.attach(c)
	if err := writeLine(conn, reply{}); err != nil {
		s.out.detach(c)
		return nil, false
	}
	return c, true
}

func (s *session) serve(c *client, in *bufio.Reader, req request) {
	defer s.out.detach(c)
	inputEnded := make(chan error, 1)
	go func() { // ends with the connection, which answer's caller closes
		<-s.ready
		inputEnded <- s.takeInput(in, req)
	}()
	for {
		select {
		case <-c.gone:
			return
		case err := <-inputEnded:
			if err != nil || !(req.Stdout || req.Stderr) {
				return
			}
			inputEnded = nil
		}
	}
}
