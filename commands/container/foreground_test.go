package container

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"weft/commands/cmdenv"
	"weft/commands/cmdtest"
)

// missing is the daemon's answer for an image it does not have.
type missing struct{ error }

func (missing) NotFound() {}

// engine runs containers that are functions. It writes down what it is asked.
type engine struct {
	program  func(stdin io.Reader, out io.Writer) int // what the container does
	noImage  bool
	startErr error
	waitErr  error

	mu    sync.Mutex // guards what follows
	calls []string
	conn  net.Conn // the container's end of its streams
	ended chan container.WaitResponse
}

func newEngine(program func(stdin io.Reader, out io.Writer) int) *engine {
	return &engine{program: program, ended: make(chan container.WaitResponse, 1)}
}

func (e *engine) call(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, fmt.Sprintf(format, args...))
}

func (e *engine) asked() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return strings.Join(e.calls, ", ")
}

func (*engine) DaemonHost() string { return "unix:///x" }

func (*engine) ClientVersion() string { return "1.51" }

func (e *engine) ImageCreate(_ context.Context, ref string, _ image.CreateOptions) (io.ReadCloser, error) {
	e.call("pull %s", ref)
	e.noImage = false
	return io.NopCloser(strings.NewReader(`{"status":"Pulled","id":"layer"}` + "\n")), nil
}

func (e *engine) ContainerCreate(_ context.Context, c *container.Config, _ *container.HostConfig, _ *network.NetworkingConfig,
	_ *ocispec.Platform, name string,
) (container.CreateResponse, error) {
	e.call("create %s %s", c.Image, name)
	if e.noImage {
		return container.CreateResponse{}, missing{errors.New("No such image: " + c.Image)}
	}
	return container.CreateResponse{ID: "id", Warnings: []string{"watch out"}}, nil
}

func (e *engine) ContainerAttach(_ context.Context, id string, o container.AttachOptions) (types.HijackedResponse, error) {
	e.call("attach %s in=%t out=%t err=%t", id, o.Stdin, o.Stdout, o.Stderr)
	ours, theirs := net.Pipe()
	e.conn = theirs
	return types.HijackedResponse{Conn: ours, Reader: bufio.NewReader(ours)}, nil
}

func (e *engine) ContainerWait(_ context.Context, id string, c container.WaitCondition) (<-chan container.WaitResponse, <-chan error) {
	e.call("wait %s %s", id, c)
	errs := make(chan error, 1)
	if e.waitErr != nil {
		errs <- e.waitErr
	}
	return e.ended, errs
}

func (e *engine) ContainerStart(_ context.Context, id string, _ container.StartOptions) error {
	e.call("start %s", id)
	if e.startErr != nil {
		e.ended <- container.WaitResponse{} // removed
		return e.startErr
	}
	if e.conn == nil {
		return nil
	}
	go func() {
		code := e.program(e.conn, e.conn)
		_ = e.conn.Close()
		if e.waitErr == nil {
			e.ended <- container.WaitResponse{StatusCode: int64(code)}
		}
	}()
	return nil
}

func (e *engine) ContainerKill(_ context.Context, id, signal string) error {
	e.call("kill %s %s", id, signal)
	return nil
}

func (e *engine) ContainerResize(context.Context, string, container.ResizeOptions) error { return nil }

// frame is output as it comes without a terminal: 1 is stdout, 2 is stderr.
func frame(stream byte, text string) []byte {
	header := []byte{stream, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(header[4:], uint32(len(text)))
	return append(header, text...)
}

// runLine runs a command line of `run` on an engine.
func runLine(t *testing.T, e *engine, stdin string, args ...string) (session *cmdtest.Session, err error) {
	t.Helper()
	session = cmdtest.NewSession(t, stdin, nil)
	err = execute(newRunCommand(session.Env, func(o *runOptions) error { return run(t.Context(), session.Env, e, o) }), args)
	return session, err
}

func exitCode(err error) int {
	var status cmdenv.StatusError
	if errors.As(err, &status) {
		return status.Code
	}
	if err != nil {
		return 1
	}
	return 0
}

func TestRunForeground(t *testing.T) {
	e := newEngine(func(_ io.Reader, out io.Writer) int {
		_, _ = out.Write(frame(1, "to out\n"))
		_, _ = out.Write(frame(2, "to err\n"))
		return 7
	})
	s, err := runLine(t, e, "", "--rm", "--name", "c", "img")
	if exitCode(err) != 7 || err.Error() != "" {
		t.Errorf("ended with %q, code %d, want silence and 7", err, exitCode(err))
	}
	if s.Out.String() != "to out\n" || s.Err.String() != "WARNING: watch out\nto err\n" {
		t.Errorf("out %q, err %q", s.Out, s.Err)
	}
	if got, want := e.asked(), "create img c, attach id in=false out=true err=true, wait id removed, start id"; got != want {
		t.Errorf("asked: %s\nwant: %s", got, want)
	}
}

func TestRunStdin(t *testing.T) {
	e := newEngine(func(in io.Reader, out io.Writer) int {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil {
			return 1
		}
		_, _ = out.Write(frame(1, strings.ToUpper(line)))
		return 0
	})
	s, err := runLine(t, e, "hello\n", "-i", "img")
	if err != nil || s.Out.String() != "HELLO\n" {
		t.Errorf("out %q, %v", s.Out, err)
	}
}

func TestRunDetached(t *testing.T) {
	e := newEngine(nil)
	s, err := runLine(t, e, "", "-d", "img")
	if err != nil || s.Out.String() != "id\n" {
		t.Errorf("out %q, %v", s.Out, err)
	}
	if got, want := e.asked(), "create img , wait id next-exit, start id"; got != want {
		t.Errorf("asked: %s\nwant: %s", got, want)
	}
}

func TestRunPulls(t *testing.T) {
	for _, tt := range []struct {
		args, asked, shown string
		code               int
	}{
		{"-d img", "create img , pull img, create img , wait id next-exit, start id", "Unable to find image 'img:latest' locally\nlayer: Pulled\nWARNING: watch out\n", 0},
		{"-d -q img", "create img , pull img, create img , wait id next-exit, start id", "WARNING: watch out\n", 0},
		{"-d --pull always img", "pull img, create img , wait id next-exit, start id", "layer: Pulled\nWARNING: watch out\n", 0},
		{"-d --pull never img", "create img ", "", 125},
		{"-d --pull often img", "", "", 125},
		{"-d IMG:UP:x", "", "", 125},
	} {
		e := newEngine(nil)
		e.noImage = true
		s, err := runLine(t, e, "", strings.Fields(tt.args)...)
		if exitCode(err) != tt.code || e.asked() != tt.asked || s.Err.String() != tt.shown {
			t.Errorf("run %s: code %d (%v), asked %q, shown %q", tt.args, exitCode(err), err, e.asked(), s.Err)
		}
	}
}

func TestStartErrors(t *testing.T) {
	for text, want := range map[string]int{
		`exec: "x": executable file not found in $PATH`: 127,
		"stat /x: no such file or directory":            127,
		`exec: "/etc": permission denied`:               126,
		`exec: "/etc": is a directory`:                  126,
		"port is already allocated":                     125,
	} {
		for _, args := range [][]string{{"--rm", "img"}, {"-d", "img"}} {
			e := newEngine(func(io.Reader, io.Writer) int { return 0 })
			e.startErr = errors.New(text)
			_, err := runLine(t, e, "", args...)
			if exitCode(err) != want || err.Error() != "weft: "+text+"\n\nRun 'weft run --help' for more information" {
				t.Errorf("run %v with %q: code %d, %q", args, text, exitCode(err), err)
			}
		}
	}
}

func TestUnknownExit(t *testing.T) {
	e := newEngine(func(io.Reader, io.Writer) int { return 0 })
	e.waitErr = errors.New("connection lost")
	_, err := runLine(t, e, "", "img")
	if exitCode(err) != 125 || err.Error() != "error waiting for container: connection lost" {
		t.Errorf("code %d, %q", exitCode(err), err)
	}
	if got := exitOf(container.WaitResponse{Error: &container.WaitExitError{Message: "oops"}}).result(); exitCode(got) != 125 {
		t.Errorf("an exit the daemon does not know gives %v", got)
	}
}

// The detach keys leave the container alone and end the command well.
func TestDetachKeys(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	got := make(chan string, 1)
	go func() {
		buf := make([]byte, 16)
		n, _ := theirs.Read(buf)
		got <- string(buf[:n])
	}()
	env := cmdtest.NewSession(t, "", nil).Env
	s := &session{
		in: io.MultiReader(strings.NewReader("ls"), strings.NewReader("\x01x")), out: io.Discard, tty: true,
		conn: types.HijackedResponse{Conn: ours, Reader: bufio.NewReader(ours)}, keys: detachKeys(env, "ctrl-a,x"),
	}
	defer s.close()
	if err := s.run(t.Context()); !errors.Is(err, errDetached) {
		t.Errorf("run = %v, want errDetached", err)
	}
	if typed := <-got; typed != "ls" {
		t.Errorf("the container got %q, want ls", typed)
	}
	if keys := detachKeys(env, ""); !bytes.Equal(keys, []byte{16, 17}) {
		t.Errorf("default keys are %v", keys)
	}
}

func TestForwardedName(t *testing.T) {
	for s, want := range map[syscall.Signal]string{
		syscall.SIGINT: "INT", syscall.SIGTERM: "TERM", syscall.SIGHUP: "HUP", syscall.SIGABRT: "ABRT",
		syscall.SIGCHLD: "", syscall.SIGPIPE: "", syscall.SIGURG: "",
	} {
		if got := forwardedName(s); got != want {
			t.Errorf("forwardedName(%v) = %q, want %q", s, got, want)
		}
	}
}

func TestProxySignals(t *testing.T) {
	e := newEngine(func(_ io.Reader, out io.Writer) int {
		_, _ = out.Write(frame(1, "ready\n"))
		return 0
	})
	reached := make(chan struct{})
	stop := proxySignals(t.Context(), cmdtest.NewSession(t, "", nil).Env.Log(), killed{e, reached}, "id")
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	<-reached
	stop()
	if !strings.Contains(e.asked(), "kill id USR1") {
		t.Errorf("asked: %s", e.asked())
	}
}

// killed says when the signal the test sends has come.
type killed struct {
	*engine
	reached chan struct{}
}

func (k killed) ContainerKill(ctx context.Context, id, signal string) error {
	err := k.engine.ContainerKill(ctx, id, signal)
	if signal == "USR1" {
		close(k.reached)
	}
	return err
}
