package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
	"github.com/moby/term"

	"weft/commands/cmdenv"
)

// Attacher opens a container's streams.
type Attacher interface {
	ContainerAttach(ctx context.Context, id string, options container.AttachOptions) (types.HijackedResponse, error)
}

// errDetached says that the user typed the detach keys: the container runs on.
var errDetached = errors.New("detached from container")

// session carries the streams of an attached container. With a terminal the
// container's output is one stream and our terminal is in raw mode; without,
// output and errors come interleaved in frames.
type session struct {
	in       io.Reader // nil: not attached
	out      io.Writer // nil: not attached
	errOut   io.Writer // nil: not attached
	terminal cmdenv.Terminal
	conn     types.HijackedResponse
	tty      bool
	keys     []byte
}

// attach opens the streams that the options name.
//
//nolint:revive // the container and how it was made, of one call
func attach(ctx context.Context, env *cmdenv.Env, api Attacher, id string, tty bool, options container.AttachOptions) (*session, error) {
	if options.DetachKeys == "" {
		options.DetachKeys = env.Config().DetachKeys
	}
	conn, err := api.ContainerAttach(ctx, id, options)
	if err != nil {
		return nil, err
	}
	s := &session{conn: conn, tty: tty, terminal: cmdenv.TerminalOf(env.In), keys: detachKeys(env, options.DetachKeys)}
	if options.Stdin {
		s.in = env.In
	}
	if options.Stdout {
		s.out = env.Out
	}
	if options.Stderr {
		s.errOut = env.Err
		if tty {
			s.errOut = env.Out
		}
	}
	return s, nil
}

// detachKeys reads keys as "ctrl-p,ctrl-q", which is also the default. Keys
// that do not parse are refused by the daemon; here they fall back.
func detachKeys(env *cmdenv.Env, keys string) []byte {
	standard := []byte{16, 17} // ctrl-p, ctrl-q
	if keys == "" {
		return standard
	}
	parsed, err := term.ToBytes(keys)
	if err != nil {
		env.Log().Debug("detach keys not understood, using the default", "err", err)
		return standard
	}
	return parsed
}

// close ends the connection. It may be called more than once.
func (s *session) close() { s.conn.Close() }

// run carries data until the container's output ends, the detach keys are
// typed (errDetached) or ctx ends. A read of our own input cannot be
// interrupted: that goroutine ends with the next key or with the process.
func (s *session) run(ctx context.Context) error {
	restore, err := s.rawMode()
	if err != nil {
		return err
	}
	defer restore()
	output, input := s.copyOutput(restore), s.copyInput(restore)
	for {
		select {
		case err := <-output:
			return err
		case err := <-input:
			if err != nil || (s.out == nil && s.errOut == nil) {
				return err
			}
			input = nil // the output is still to come
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// rawMode hands every key to the container. The function it gives puts the
// terminal back and may be called more than once.
func (s *session) rawMode() (restore func(), err error) {
	if s.in == nil || !s.tty || !s.terminal.IsTTY {
		return func() {}, nil
	}
	state, err := term.SetRawTerminal(s.terminal.FD)
	if err != nil {
		return nil, fmt.Errorf("unable to set up input stream: %w", err)
	}
	return sync.OnceFunc(func() {
		_ = term.RestoreTerminal(s.terminal.FD, state) // nothing is left to do if the terminal is gone
	}), nil
}

// copyOutput gives a channel that says how the output ended, nil where no
// output is attached.
func (s *session) copyOutput(restore func()) <-chan error {
	if s.out == nil && s.errOut == nil {
		return nil
	}
	ended := make(chan error, 1)
	go func() {
		var err error
		if s.tty && s.out != nil {
			_, err = io.Copy(s.out, s.conn.Reader)
			restore()
		} else {
			_, err = stdcopy.StdCopy(orDiscard(s.out), orDiscard(s.errOut), s.conn.Reader)
		}
		ended <- err
	}()
	return ended
}

func orDiscard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// copyInput gives a channel that says how the input ended: nil, or that the
// detach keys were typed.
func (s *session) copyInput(restore func()) <-chan error {
	ended := make(chan error, 1)
	go func() {
		if s.in != nil {
			in := s.in
			if s.tty {
				in = term.NewEscapeProxy(in, s.keys)
			}
			_, err := io.Copy(s.conn.Conn, in)
			restore()
			var escape term.EscapeError
			if errors.As(err, &escape) {
				ended <- errDetached
				return
			}
		}
		_ = s.conn.CloseWrite() // the container may be gone, which the output tells
		ended <- nil
	}()
	return ended
}
