package container

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"github.com/creack/pty"

	"weft/commands/cmdtest"
)

// TestCopyMeterOnTerminal copies while a terminal shows how much it was.
func TestCopyMeterOnTerminal(t *testing.T) {
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer terminal.Close()
	var (
		mu      sync.Mutex
		shown   bytes.Buffer
		changed = make(chan struct{}, 1)
		read    = make(chan struct{})
	)
	go func() {
		defer close(read)
		buf := make([]byte, 512)
		for {
			n, err := terminal.Read(buf)
			mu.Lock()
			shown.Write(buf[:n])
			mu.Unlock()
			wake(changed)
			if err != nil { // the other end is closed
				return
			}
		}
	}()
	sees := func(part string) {
		t.Helper()
		until(t, changed, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return bytes.Contains(shown.Bytes(), []byte(part))
		})
	}
	env := cmdtest.NewSession(t, "", nil).Env
	env.Err = tty
	from, to := io.Pipe()
	meter := newCopyMeter(env, false, "Copying - ", from)
	copied := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, meter)
		copied <- err
	}()
	sees("\x1b[?25lCopying - 0B")
	for _, step := range []string{"1.5kB", "3kB"} {
		if _, err := to.Write(make([]byte, 1500)); err != nil {
			t.Fatal(err)
		}
		sees("\r\x1b[2KCopying - " + step)
	}
	if err := to.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-copied; err != nil {
		t.Fatal(err)
	}
	meter.end("there")
	sees("\r\x1b[2K\x1b[?25hSuccessfully copied 3kB to there")
	if err := tty.Close(); err != nil {
		t.Fatal(err)
	}
	<-read
}
