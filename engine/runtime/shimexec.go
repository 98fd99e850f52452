package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	goruntime "runtime"
	"syscall"

	"github.com/docker/docker/oci/caps"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"weft/engine/model"
)

// exec runs a further process for the client that asks for it, from its start
// to the end of its output. Its end can be asked for until the container's.
func (s *shim) exec(conn *net.UnixConn, in *bufio.Reader, req request) {
	if req.Spec == nil || req.Exec == "" {
		_ = writeLine(conn, reply{Error: "no process given"})
		return
	}
	e := newSession(nil)
	var err error
	if e.stdio, err = openStdio(req.Spec.Stdin, req.Spec.TTY); err != nil {
		_ = writeLine(conn, reply{Error: err.Error()})
		return
	}
	s.execMu.Lock()
	s.execs[req.Exec] = e
	s.execMu.Unlock()
	if req.Spec.Detached {
		_ = writeLine(conn, s.execDetached(e, *req.Spec))
		return
	}
	client, ok := e.admit(conn, req)
	if !ok {
		return
	}
	if err := s.spawnExec(e, *req.Spec); err != nil {
		e.failed(err)
		s.retire(e)
		e.tell(client, err, req.Spec.TTY)
		return
	}
	if req.Spec.Rows > 0 {
		e.resize(req.Spec.Rows, req.Spec.Cols)
	}
	s.follow(e)
	e.serve(client, in, req)
}

// execDetached starts a process whose output nobody takes.
func (s *shim) execDetached(e *session, spec model.ExecSpec) reply {
	if err := s.spawnExec(e, spec); err != nil {
		e.failed(err)
		s.retire(e)
		e.out.end()
		return reply{Error: err.Error()}
	}
	s.follow(e)
	return reply{}
}

// follow supervises a further process beside everything else.
func (s *shim) follow(e *session) {
	s.conns.Add(1)
	go func() { // ends with the process, which ends with the container
		defer s.conns.Done()
		s.superviseExec(e)
	}()
}

// failed records a process that could not be started.
func (s *session) failed(err error) {
	s.kill()
	var exec *ExecError
	s.exit.Status.Code = codeNotExecutable
	if errors.As(err, &exec) && exec.Code != 0 {
		s.exit.Status.Code = exec.Code
	}
	s.exit.Status.Err = err.Error()
	close(s.done)
}

// tell tells the client why there is no process, as Docker does: where its
// output would be.
func (s *session) tell(c *client, err error, terminal bool) {
	stream := byte(streamStderr)
	if terminal {
		stream = streamStdout
	}
	c.send(stream, []byte("OCI runtime exec failed: exec failed: "+err.Error()+"\r\n"))
	s.out.end()
}

// superviseExec waits for the end of the process and its output.
func (s *shim) superviseExec(e *session) {
	drained := e.pump()
	state, err := e.proc.Wait()
	e.exit.Status = exitStatus(state, err)
	e.exit.Status.Finished = s.now()
	e.stdio.endInput()
	e.out.hurry(s.now().Add(clientTimeout))
	s.await(drained, drainTimeout)
	close(e.done)
	e.out.end()
	s.retire(e)
}

// execsKept is how many processes that have ended can still be asked about.
const execsKept = 64

// retire forgets the processes that ended longest ago.
func (s *shim) retire(e *session) {
	s.execMu.Lock()
	defer s.execMu.Unlock()
	s.ended = append(s.ended, e)
	if len(s.ended) <= execsKept {
		return
	}
	oldest := s.ended[0]
	s.ended = s.ended[1:]
	for id, other := range s.execs {
		if other == oldest {
			delete(s.execs, id)
		}
	}
}

// spawnExec makes a process in the container's namespaces.
func (s *shim) spawnExec(e *session, spec model.ExecSpec) error {
	box := sandbox{Bundle: s.bundle, Joined: true}
	process := *s.bundle.Spec.Process
	process.Args, process.Env, process.Terminal = spec.Args, mergeEnv(process.Env, spec.Env), spec.TTY
	if spec.TTY {
		process.Env = mergeEnv([]string{"TERM=xterm"}, process.Env)
	}
	if spec.Dir != "" {
		process.Cwd = spec.Dir
	}
	if spec.User != "" {
		box.Bundle.User, box.Bundle.Groups = spec.User, nil
	}
	if spec.AllCaps {
		all := caps.GetAllCapabilities()
		process.Capabilities = &specs.LinuxCapabilities{Bounding: all, Effective: all, Permitted: all}
		box.Bundle.AllSyscalls = true
	}
	oci := *s.bundle.Spec
	oci.Process = &process
	box.Bundle.Spec = &oci
	result := make(chan error, 1)
	go func() {
		// The thread ends with this goroutine: no other may run in the
		// container's namespaces.
		goruntime.LockOSThread()
		if err := enterAll(s.proc.Pid); err != nil {
			result <- err
			return
		}
		result <- s.spawner.spawn(e, box, &syscall.SysProcAttr{Setsid: true}, func(pid int) error {
			added := make(chan error)
			go func() { added <- s.cgroup.add(pid) }() // where the host's cgroups can be seen
			return <-added
		})
	}()
	return <-result
}

// enterAll puts this thread into a process's namespaces; what it starts is in
// its PID namespace too.
func enterAll(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("enter container: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("enter container: %w", err)
	}
	const all = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP | unix.CLONE_NEWPID
	if err := unix.Setns(fd, all); err != nil {
		return fmt.Errorf("enter container: %w", err)
	}
	return nil
}
