package runtime

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/model"
)

// clock is a log's clock: a second later each time it is asked.
func clock() func() time.Time {
	at := time.Date(2026, 1, 2, 3, 4, 0, 0, time.UTC)
	return func() time.Time { at = at.Add(time.Second); return at }
}

// logOf writes a container's log without running it.
func (b *bed) logOf(write func(w *logWriter)) string {
	b.t.Helper()
	id := b.create(model.ProcessSpec{})
	w, err := openLog(b.bundleDir(id), 1<<20, clock())
	if err != nil {
		b.t.Fatal(err)
	}
	write(w)
	if err := w.close(); err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *bed) put(w *logWriter, stream byte, text string) {
	b.t.Helper()
	if err := w.write(stream, []byte(text)); err != nil {
		b.t.Fatal(err)
	}
}

func TestLogOptions(t *testing.T) { onBoth(t, testLogOptions) }

func testLogOptions(t *testing.T, b *bed) {
	id := b.logOf(func(w *logWriter) {
		for i := 1; i <= 5; i++ {
			b.put(w, streamStdout, fmt.Sprintf("line %d\n", i))
		}
		b.put(w, streamStderr, "oops\n")
	})
	at := func(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC) }
	for _, c := range []struct {
		name string
		opts LogOptions
		want string
	}{
		{"all", LogOptions{Tail: -1}, "line 1\nline 2\nline 3\nline 4\nline 5\n|oops\n"},
		{"tail", LogOptions{Tail: 2}, "line 5\n|oops\n"},
		{"tail 0", LogOptions{Tail: 0}, "|"},
		{"long tail", LogOptions{Tail: 100}, "line 1\nline 2\nline 3\nline 4\nline 5\n|oops\n"},
		{"since", LogOptions{Since: at(4), Tail: -1}, "line 4\nline 5\n|oops\n"},
		{"until", LogOptions{Until: at(2), Tail: -1}, "line 1\nline 2\n|"},
		{"between, tail", LogOptions{Since: at(2), Until: at(4), Tail: 2}, "line 3\nline 4\n|"},
		{"timestamps", LogOptions{Tail: 2, Timestamps: true}, "2026-01-02T03:04:05.000000000Z line 5\n|2026-01-02T03:04:06.000000000Z oops\n"},
		{"follow what does not run", LogOptions{Tail: 1, Follow: true}, "|oops\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := b.logs(id, c.opts)
			if out+"|"+err != c.want {
				t.Errorf("got %q, want %q", out+"|"+err, c.want)
			}
		})
	}
	var out strings.Builder
	if err := b.Logs(t.Context(), id, LogOptions{Tail: 1}, &out, nil); err != nil || out.String() != "line 5\n" {
		t.Errorf("standard output only: %v %q", err, out.String())
	}
}

func TestLogLines(t *testing.T) { onBoth(t, testLogLines) }

func testLogLines(t *testing.T, b *bed) {
	long := strings.Repeat("y", 3*lineMax+5)
	id := b.logOf(func(w *logWriter) {
		b.put(w, streamStdout, "be")
		b.put(w, streamStderr, "between\n")
		b.put(w, streamStdout, "gin\n\nend")
		if err := w.flush(streamStdout); err != nil {
			t.Fatal(err)
		}
		b.put(w, streamStdout, long+"\n")
		b.put(w, streamStdout, "<&> \u2028 \"q\"\n")
	})
	out, errs := b.logs(id, LogOptions{Tail: -1})
	if want := "begin\n\nend" + long + "\n<&> \u2028 \"q\"\n"; out != want || errs != "between\n" {
		t.Errorf("got %d bytes, want %d; %q", len(out), len(want), errs)
	}
	text, err := os.ReadFile(filepath.Join(b.bundleDir(id), fileLog))
	if err != nil || !strings.HasPrefix(string(text), `{"log":"between\n","stream":"stderr","time":"2026-01-02T03:04:01Z"}`+"\n"+`{"log":"begin\n",`) {
		t.Errorf("%v: %.200s", err, text)
	}
}

func TestLogThatACrashCut(t *testing.T) { onBoth(t, testLogThatACrashCut) }

func testLogThatACrashCut(t *testing.T, b *bed) {
	id := b.logOf(func(w *logWriter) { b.put(w, streamStdout, "before\n") })
	path := filepath.Join(b.bundleDir(id), fileLog)
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, `{"log":"half of a li`); err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	w, err := openLog(b.bundleDir(id), 1<<20, clock())
	if err != nil {
		t.Fatal(err)
	}
	b.put(w, streamStdout, "after\n")
	_ = w.close()
	if out, _ := b.logs(id, LogOptions{Tail: -1}); out != "before\nafter\n" {
		t.Errorf("got %q", out)
	}
}

// TestCursorFollowsRotation reads while the log is rotated, at every distance
// between reads that loses nothing.
func TestCursorFollowsRotation(t *testing.T) {
	for _, batch := range []int{1, 3, 10} {
		dir := t.TempDir()
		const limit = 2000
		w, err := openLog(dir, limit, clock())
		if err != nil {
			t.Fatal(err)
		}
		c, err := openCursor(dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range 500 {
			if err := w.write(streamStdout, fmt.Appendf(nil, "%d\n", i)); err != nil {
				t.Fatal(err)
			}
			if i%batch == 0 {
				if err := c.each(func(r logRecord) error { got = append(got, r.Log); return nil }); err != nil {
					t.Fatal(err)
				}
			}
			for _, name := range []string{fileLog, fileOldLog} {
				if st, err := os.Stat(filepath.Join(dir, name)); err == nil && st.Size() > limit {
					t.Fatalf("%s has %d bytes", name, st.Size())
				}
			}
		}
		for i, line := range got {
			if line != fmt.Sprintf("%d\n", i) {
				t.Fatalf("batch %d: line %d is %q", batch, i, line)
			}
		}
		if len(got) < 500-batch {
			t.Errorf("batch %d: %d lines", batch, len(got))
		}
		c.close()
		if err := w.close(); err != nil {
			t.Error(err)
		}
	}
}

func TestFollow(t *testing.T) { onBoth(t, testFollow) }

func testFollow(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"cat"}, OpenStdin: true})
	b.start(id)
	var out buffer
	done := make(chan error, 1)
	go func() { done <- b.Logs(deadline(t), id, LogOptions{Follow: true, Tail: -1}, &out, nil) }()
	for i := range 5 {
		text := fmt.Sprintln("line", i)
		if err := b.Attach(deadline(t), id, AttachOptions{Stdin: strings.NewReader(text), KeepStdin: true}); err != nil {
			t.Fatal(err)
		}
		eventually(t, text, func() bool { return strings.HasSuffix(out.String(), text) })
	}
	if err := b.Attach(deadline(t), id, AttachOptions{Stdin: strings.NewReader("the end")}); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil || out.String() != "line 0\nline 1\nline 2\nline 3\nline 4\nthe end" {
		t.Errorf("%v %q", err, out.String())
	}
}

func TestFollowEnds(t *testing.T) { onBoth(t, testFollowEnds) }

func testFollowEnds(t *testing.T, b *bed) {
	id := b.create(model.ProcessSpec{Args: []string{"serve"}})
	b.start(id)
	b.ready(id)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan error, 1)
	follow := func(ctx context.Context, opts LogOptions) {
		opts.Follow, opts.Tail = true, -1
		go func() { done <- b.Logs(ctx, id, opts, io.Discard, nil) }()
	}
	follow(ctx, LogOptions{})
	leave()
	if err := <-done; err == nil {
		t.Error("no error though the caller has left")
	}
	follow(deadline(t), LogOptions{Until: time.Now().Add(20 * time.Millisecond)})
	if err := <-done; err != nil {
		t.Errorf("until: %v", err)
	}
	follow(deadline(t), LogOptions{})
	if err := syscall.Kill(b.procs(id).Shim.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after the death of the shim: %v", err)
	}
}

func TestLogIsBounded(t *testing.T) { onBoth(t, testLogIsBounded) }

func testLogIsBounded(t *testing.T, b *bed) {
	const n = 200000 // 23 MB of output, 33 MB of log
	id := b.create(model.ProcessSpec{Args: []string{"lines", fmt.Sprint(n)}})
	b.start(id)
	b.wait(id)
	var total int64
	for _, name := range []string{fileLog, fileOldLog} {
		st, err := os.Stat(filepath.Join(b.bundleDir(id), name))
		if err != nil {
			t.Fatal(err)
		}
		if total += st.Size(); st.Size() > logLimit {
			t.Errorf("%s has %d bytes", name, st.Size())
		}
	}
	out, _ := b.logs(id, LogOptions{Tail: -1})
	lines := strings.Split(strings.TrimSpace(out), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, fmt.Sprintf("line %07d ", n-len(lines)+i)) {
			t.Fatalf("line %d of %d is %q", i, len(lines), line)
		}
	}
	if len(lines) < n/4 {
		t.Errorf("%d lines in %d bytes", len(lines), total)
	}
	if out, _ := b.logs(id, LogOptions{Tail: 3}); strings.Count(out, "\n") != 3 || !strings.Contains(out, fmt.Sprintf("line %07d", n-1)) {
		t.Errorf("tail %q", out)
	}
}
