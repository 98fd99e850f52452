package runtime

import (
	"bufio"
	"errors"
	"net"

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
	s.execMu.Lock()
	s.execs[req.Exec] = e
	s.execMu.Unlock()
	if req.Spec.Detached {
		_ = writeLine(conn, s.execDetached(e, req.Exec, *req.Spec))
		return
	}
	client, ok := e.admit(conn, req)
	if !ok {
		return
	}
	err := s.maker.further(e, req.Exec, *req.Spec)
	close(e.ready)
	if err != nil {
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
func (s *shim) execDetached(e *session, id string, spec model.ExecSpec) reply {
	err := s.maker.further(e, id, spec)
	close(e.ready)
	if err != nil {
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
	e.exit.Status = s.stamped(e.proc.wait())
	e.proc.endInput()
	e.out.hurry(s.now().Add(clientTimeout))
	s.await(drained, drainTimeout)
	close(e.done)
	e.out.end()
	s.maker.retire(e)
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
