package cmdenv

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/moby/term"
)

// Confirm asks question, followed by "[y/N]", on Out and reads a line of In.
// Anything but y or Y is no, and so is the end of the input. A cancelled
// context ends it with the context's cause.
func (e *Env) Confirm(ctx context.Context, question string) (bool, error) {
	answer, err := e.Ask(ctx, question+" [y/N] ")
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.EqualFold(answer, "y"), err
}

// ReadSecret asks on Out and reads a line of In without showing it, if In is a
// terminal.
func (e *Env) ReadSecret(ctx context.Context, question string) (string, error) {
	tty := TerminalOf(e.In)
	if !tty.IsTTY {
		return e.askSecret(ctx, question)
	}
	state, err := term.SaveState(tty.FD)
	if err != nil {
		return "", fmt.Errorf("read terminal state: %w", err)
	}
	if err := term.DisableEcho(tty.FD, state); err != nil {
		return "", fmt.Errorf("hide input: %w", err)
	}
	answer, err := e.askSecret(ctx, question)
	if restoreErr := term.RestoreTerminal(tty.FD, state); err == nil && restoreErr != nil {
		err = fmt.Errorf("restore terminal: %w", restoreErr)
	}
	fmt.Fprintln(e.Out)
	return answer, err
}

// askSecret takes the end of the input for an empty secret.
func (e *Env) askSecret(ctx context.Context, question string) (string, error) {
	answer, err := e.Ask(ctx, question)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return answer, err
}

// Ask asks question on Out and reads a line of In. At the end of the input it
// returns io.EOF. A cancelled context ends it with the context's cause.
//
// It reads in a goroutine of its own, because a read of a terminal cannot be
// interrupted; it ends with the read, at the latest with the process.
func (e *Env) Ask(ctx context.Context, question string) (string, error) {
	if _, err := io.WriteString(e.Out, question); err != nil {
		return "", fmt.Errorf("ask: %w", err)
	}
	e.mu.Lock()
	if e.lines == nil {
		e.lines = bufio.NewReader(e.In)
	}
	lines := e.lines
	e.mu.Unlock()
	type read struct {
		text string
		err  error
	}
	line := make(chan read, 1)
	go func() {
		text, err := lines.ReadString('\n')
		line <- read{text, err}
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(e.Out)
		return "", context.Cause(ctx)
	case r := <-line:
		if r.text == "" && r.err != nil {
			return "", fmt.Errorf("read the answer: %w", r.err)
		}
		return strings.TrimSpace(r.text), nil
	}
}
