package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestCat(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	must(t, os.WriteFile(one, []byte("1\n\x00\xff"), 0o600))
	must(t, os.WriteFile(two, bytes.Repeat([]byte("2"), 1<<20), 0o600))
	call(t.Context(), "cat", one).says(t, 0, "1\n\x00\xff", "")
	got := call(t.Context(), "cat", two, one)
	if got.code != 0 || got.out != strings.Repeat("2", 1<<20)+"1\n\x00\xff" {
		t.Errorf("two files: exit %d, %d bytes", got.code, len(got.out))
	}
	call(t.Context(), "cat", one, filepath.Join(dir, "none"), two).says(t, 1, "1\n", "none: no such file or directory")
	call(t.Context(), "cat", dir).says(t, 1, "", "is a directory")

	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"cat"}, streams{strings.NewReader("read\n"), &out, &errs})
	result{code, out.String(), errs.String()}.says(t, 0, "read\n", "")
}

// broken is a stream nobody is at the other end of.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestWhatCannotBeWritten(t *testing.T) {
	t.Setenv("PROBE_TEST", "set") // an environment is never empty
	for _, name := range []string{"cat", "env", "hostname"} {
		var errs bytes.Buffer
		code := run(t.Context(), []string{name}, streams{strings.NewReader("read\n"), broken{}, &errs})
		result{code, "", errs.String()}.says(t, 1, "", "probe "+name+": broken pipe\n")
	}
}

// TestCatIsInterrupted where it waits: for a writer to open a FIFO, and for
// something to read.
func TestCatIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(caught{syscall.SIGINT})
	fifo := filepath.Join(t.TempDir(), "fifo")
	must(t, syscall.Mkfifo(fifo, 0o600))
	if code := run(ctx, []string{"cat", fifo}, streams{nil, io.Discard, io.Discard}); code != 130 { // what it leaves behind may write still
		t.Errorf("exit %d", code)
	}
	w, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for cat, which has opened it or will
	must(t, err)
	must(t, w.Close())

	p := start(t, nil, "cat")
	_, err = p.in.WriteString("read\n")
	must(t, err)
	p.await("read")
	p.signal(syscall.SIGINT).says(t, 130, "", "")
}

func TestEnv(t *testing.T) {
	t.Setenv("PROBE_TEST", "a=b c")
	call(t.Context(), "env").says(t, 0, "\nPROBE_TEST=a=b c\n", "")
}

func TestHostname(t *testing.T) {
	name, err := os.Hostname()
	must(t, err)
	if got := call(t.Context(), "hostname"); got != (result{0, name + "\n", ""}) {
		t.Errorf("%+v", got)
	}
}

func TestTrueAndFalse(t *testing.T) {
	if got := call(t.Context(), "true", "--whatever", "x"); got != (result{}) {
		t.Errorf("true: %+v", got)
	}
	if got := call(t.Context(), "false", "--whatever", "x"); got != (result{code: 1}) {
		t.Errorf("false: %+v", got)
	}
	if text := exit(1).Error(); text != "exit 1" {
		t.Errorf("%q", text)
	}
	if err := error(caught{syscall.SIGTERM}); !errors.As(err, new(caught)) || err.Error() != "terminated" {
		t.Errorf("%q", err)
	}
}
