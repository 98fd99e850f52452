package rootless

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pair gives two ends of a connection.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = dial(l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.AcceptUnix(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = a.Close(), b.Close() })
	return a, b
}

func TestPackets(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	long := strings.Repeat("x", 100<<10)
	if err := send(a, request{Op: opRun, Args: []string{"weft", long}}, w); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	var got request
	files, err := receive(b, &got)
	if err != nil || len(files) != 1 || got.Args[1] != long {
		t.Fatalf("received %d files, %v", len(files), err)
	}
	if _, err := files[0].WriteString("hello"); err != nil {
		t.Error(err)
	}
	closeAll(files)
	if text, err := io.ReadAll(r); err != nil || string(text) != "hello" {
		t.Errorf("through the file: %q, %v", text, err)
	}
	if err := send(a, request{Args: []string{long, long}}); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a packet that is too long: %v", err)
	}
	if _, err := a.Write([]byte("no JSON")); err != nil {
		t.Fatal(err)
	}
	if _, err := receive(b, &got); err == nil {
		t.Error("received what is no JSON")
	}
	_ = a.Close()
	if _, err := receive(b, &got); !errors.Is(err, io.EOF) {
		t.Errorf("after the other side's end: %v", err)
	}
}

func TestErrorsKeepTheirCause(t *testing.T) {
	_, err := portOf(t.Context(), "tcp4", "192.0.2.1:1")
	if err == nil {
		t.Fatal("listened at an address of nobody's")
	}
	again := failure(err).err()
	if !errors.Is(again, unix.EADDRNOTAVAIL) || again.Error() != err.Error() {
		t.Errorf("%v became %v", err, again)
	}
	if (reply{}).err() != nil {
		t.Error("an error in an empty reply")
	}
}
