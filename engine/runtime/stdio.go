package runtime

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// pipe is one of the process's standard streams: our end and the process's.
type pipe struct{ ours, theirs *os.File }

// stdio are the process's standard streams.
type stdio struct {
	stdin, stdout, stderr pipe
	console               *os.File // our end of the terminal, which is all three then
}

// openStdio makes the streams. Without standard input, which is then
// /dev/null, stdin.ours is nil. With a terminal, which the process makes, they
// are all /dev/null until it does.
func openStdio(input, terminal bool) (stdio, error) {
	var s stdio
	var errs [3]error
	streams := []*pipe{&s.stdin, &s.stdout, &s.stderr}
	for i, p := range streams {
		switch {
		case terminal, i == 0 && !input:
			p.theirs, errs[i] = os.OpenFile(os.DevNull, os.O_RDWR, 0)
		case i == 0:
			p.theirs, p.ours, errs[i] = os.Pipe()
		default:
			p.ours, p.theirs, errs[i] = os.Pipe()
		}
	}
	if err := errors.Join(errs[:]...); err != nil {
		return stdio{}, fmt.Errorf("make standard streams: %w", err)
	}
	return s, nil
}

// closeTheirs closes the process's ends, which it has now.
func (s *stdio) closeTheirs() {
	for _, p := range []pipe{s.stdin, s.stdout, s.stderr} {
		_ = p.theirs.Close()
	}
}

// input is where the process's standard input is written; nil: it has none.
func (s *stdio) input() *os.File {
	if s.console != nil {
		return s.console
	}
	return s.stdin.ours
}

// takeInput gives the process what a client sends, until the client sends no
// more. io.EOF means that the client has gone: one without input has nothing
// else to tell us.
func (s *session) takeInput(in *bufio.Reader, req request) error {
	to := s.stdio.input()
	if !req.Stdin || to == nil {
		if _, err := io.Copy(io.Discard, in); err != nil {
			return err
		}
		if req.Stdin {
			return nil
		}
		return io.EOF
	}
	if _, err := io.Copy(to, in); err != nil {
		// The process reads no more. The client must not wait for it.
		_, err = io.Copy(io.Discard, in)
		return err
	}
	if proc := s.running(); proc != nil && !req.KeepStdin {
		proc.endInput()
	}
	return nil
}
