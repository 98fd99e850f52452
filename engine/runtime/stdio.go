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
type stdio struct{ stdin, stdout, stderr pipe }

// openStdio makes the streams. Without standard input, which is then
// /dev/null, stdin.ours is nil.
func openStdio(input bool) (stdio, error) {
	var s stdio
	var errs [3]error
	if input {
		s.stdin.theirs, s.stdin.ours, errs[0] = os.Pipe()
	} else {
		s.stdin.theirs, errs[0] = os.Open(os.DevNull)
	}
	s.stdout.ours, s.stdout.theirs, errs[1] = os.Pipe()
	s.stderr.ours, s.stderr.theirs, errs[2] = os.Pipe()
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

// takeInput gives the process what a client sends, until the client sends no
// more. io.EOF means that the client has gone: one without input has nothing
// else to tell us.
func (s *stdio) takeInput(in *bufio.Reader, req request) error {
	if !req.Stdin || s.stdin.ours == nil {
		if _, err := io.Copy(io.Discard, in); err != nil {
			return err
		}
		if req.Stdin {
			return nil
		}
		return io.EOF
	}
	if _, err := io.Copy(s.stdin.ours, in); err != nil {
		// The process reads no more. The client must not wait for it.
		_, err = io.Copy(io.Discard, in)
		return err
	}
	if !req.KeepStdin {
		_ = s.stdin.ours.Close()
	}
	return nil
}
