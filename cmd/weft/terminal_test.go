package main_test

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/creack/pty"
)

// TestTerminalIsNotAsked runs a command on a terminal that answers nothing, as
// expect's and script's do not: it has to print what it prints elsewhere.
func TestTerminalIsNotAsked(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(weft(t), "--version")
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CI=") }), "TERM=xterm-256color")
	terminal, err := pty.Start(cmd)
	must(t, err)
	defer func() { _ = terminal.Close() }()
	out, _ := io.ReadAll(terminal) // ends with EIO when the command does
	must(t, cmd.Wait())
	if !strings.HasPrefix(string(out), "weft version ") || strings.Contains(string(out), "\x1b") {
		t.Errorf("on a terminal: %q", out)
	}
}
