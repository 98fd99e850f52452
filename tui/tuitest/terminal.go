package tuitest

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/vt"
	"github.com/creack/pty"
)

// patience is how long a terminal may take to show what a test waits for.
const patience = 2 * time.Minute

// Terminal is a program in a pseudo-terminal, with what it has drawn.
type Terminal struct {
	tb   testing.TB
	file *os.File
	cmd  *exec.Cmd

	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	screen  *vt.Emulator
	raw     strings.Builder
	over    bool
}

// Start starts a program in a terminal of so many columns and lines. The
// program is killed at the end of the test if it still runs.
func Start(tb testing.TB, cmd *exec.Cmd, width, height int) *Terminal {
	tb.Helper()
	t, slave := Open(tb, width, height)
	t.cmd = cmd
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if t.cmd.ProcessState == nil {
			_ = t.cmd.Process.Kill()
			_ = t.cmd.Wait()
		}
	})
	if err := slave.Close(); err != nil {
		tb.Fatal(err)
	}
	return t
}

// Open gives a terminal, and the file by which the test's own process is in it.
func Open(tb testing.TB, width, height int) (t *Terminal, slave *os.File) {
	tb.Helper()
	t = &Terminal{tb: tb, screen: vt.NewEmulator(width, height)}
	t.changed = sync.NewCond(&t.mu)
	var err error
	if t.file, slave, err = pty.Open(); err != nil {
		tb.Fatal(err)
	}
	if err := pty.Setsize(t.file, &pty.Winsize{Cols: uint16(width), Rows: uint16(height)}); err != nil { //nolint:gosec // a test's sizes
		tb.Fatal(err)
	}
	var reading, replying sync.WaitGroup
	reading.Go(t.read)
	replying.Go(t.reply)
	tb.Cleanup(func() {
		_ = slave.Close()
		_ = t.file.Close()
		reading.Wait()
		if pipe, is := t.screen.InputPipe().(io.Closer); is { // ends what reply reads
			_ = pipe.Close()
		}
		replying.Wait()
		_ = t.screen.Close()
	})
	return t, slave
}

// read draws what the program writes.
func (t *Terminal) read() {
	buf := make([]byte, 32<<10)
	for {
		n, err := t.file.Read(buf)
		t.mu.Lock()
		_, _ = t.screen.Write(buf[:n])
		t.raw.Write(buf[:n])
		t.over = t.over || err != nil
		t.changed.Broadcast()
		t.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// reply sends the program what a terminal answers to its questions.
func (t *Terminal) reply() { _, _ = io.Copy(t.file, t.screen) }

// Screen gives what is to be seen.
func (t *Terminal) Screen() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Trim(t.screen.String())
}

// Written gives all that the program has written, control sequences included.
func (t *Terminal) Written() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.raw.String()
}

// Await waits until the screen shows text.
func (t *Terminal) Await(text string) {
	t.tb.Helper()
	t.await("the screen to show "+text, func() bool { return strings.Contains(t.screen.String(), text) })
}

// AwaitWritten waits until the program has written text.
func (t *Terminal) AwaitWritten(text string) {
	t.tb.Helper()
	t.await("the program to write "+text, func() bool { return strings.Contains(t.raw.String(), text) })
}

func (t *Terminal) await(what string, is func() bool) {
	t.tb.Helper()
	late := false
	timer := time.AfterFunc(patience, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		late = true
		t.changed.Broadcast()
	})
	defer timer.Stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	for !is() {
		if late || t.over {
			t.tb.Fatalf("waited in vain for %s; the program has ended: %v; on the screen:\n%s", what, t.over, Trim(t.screen.String()))
		}
		t.changed.Wait()
	}
}

// Type writes text as if it were typed.
func (t *Terminal) Type(text string) {
	t.tb.Helper()
	if _, err := io.WriteString(t.file, text); err != nil {
		t.tb.Fatal(err)
	}
}

// What keys send.
const (
	Enter = "\r"
	Tab   = "\t"
	Esc   = "\x1b"
	CtrlC = "\x03"
	CtrlD = "\x04"
)

// Wait waits for the program to end and gives its exit code.
func (t *Terminal) Wait() int {
	t.tb.Helper()
	t.await("the end of the program", func() bool { return t.over })
	exit := (*exec.ExitError)(nil)
	if err := t.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.tb.Fatal(err)
	}
	return t.cmd.ProcessState.ExitCode()
}
