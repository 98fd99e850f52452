package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"weft/engine/containerd"
	"weft/engine/model"
)

// testSelf is the static test binary that plays weft; set by TestMain.
var testSelf string

func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case ShimName:
		os.Exit(ShimMain(os.Args[1:]))
	case InitName:
		os.Exit(InitMain(os.Args[1:]))
	case ProbeName:
		os.Exit(applet(os.Args[1:]))
	case engineName:
		os.Exit(doomedEngine(os.Args[1:]))
	}
	dir, err := os.MkdirTemp("", "weft-runtime-test-")
	if err != nil {
		panic(err)
	}
	if testSelf, err = staticSelf(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	stopDaemon()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// staticSelf gives this test as a binary that runs in an empty root: itself,
// or, where cgo made it dynamic, a build of its own.
func staticSelf(dir string) (string, error) {
	self, err := os.Executable()
	if err != nil || checkStatic(self) == nil {
		return self, err
	}
	out := filepath.Join(dir, "runtime.test")
	build := exec.Command("go", "test", "-c", "-o", out, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build a static test binary: %w\n%s", err, text)
	}
	return out, nil
}

// applet is the built-in image's program in these tests.
func applet(args []string) int {
	if len(args) == 0 {
		args = []string{"serve"}
	}
	switch args[0] {
	case "exit":
		n, _ := strconv.Atoi(args[1])
		return n
	case "echo":
		fmt.Println(strings.Join(args[1:], " "))
	case "echoerr":
		fmt.Fprintln(os.Stderr, strings.Join(args[1:], " "))
	case "printf":
		fmt.Print(args[1])
	case "both":
		for i := range 3 {
			fmt.Println("out", i)
			fmt.Fprintln(os.Stderr, "err", i)
		}
	case "env":
		fmt.Println(strings.Join(os.Environ(), "\n"))
	case "args":
		fmt.Printf("%q\n", os.Args)
	case "cat":
		if len(args) == 1 {
			_, _ = io.Copy(os.Stdout, os.Stdin)
		}
		for _, name := range args[1:] {
			b, err := os.ReadFile(name)
			if err != nil {
				fmt.Println(err)
				return 1
			}
			_, _ = os.Stdout.Write(b)
		}
	case "lines":
		n, _ := strconv.Atoi(args[1])
		for i := range n {
			fmt.Printf("line %07d %s\n", i, strings.Repeat("x", 100))
		}
	case "ticks":
		tick := time.NewTicker(5 * time.Millisecond)
		for i := 0; ; i++ {
			fmt.Println("tick", i)
			<-tick.C
		}
	case "serve", "stubborn":
		return wait(args[0] == "stubborn")
	case "netns":
		ns, err := os.Readlink("/proc/self/ns/net")
		fmt.Println(ns, err)
	case "cwd":
		dir, err := os.Getwd()
		fmt.Println(dir, err)
	case "isolation":
		return isolation()
	case "keyring":
		id, err := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, true)
		fmt.Println(id, err)
	case "intruder":
		return intruder(args[1:])
	default:
		fmt.Fprintln(os.Stderr, "no applet", args[0])
		return 127
	}
	return 0
}

func wait(ignoreTerm bool) int {
	sigs := make(chan os.Signal, 8)
	signal.Notify(sigs)
	fmt.Println("ready")
	for s := range sigs {
		switch {
		case s == syscall.SIGURG: // the Go runtime's own
		case s == syscall.SIGTERM && ignoreTerm:
			fmt.Println("ignored")
		default:
			fmt.Println("got", s)
			return codeSignal + int(s.(syscall.Signal))
		}
	}
	return 0
}

// bed is a Runtime over directories of its own; everything is removed, and
// counted, at the end of the test.
type bed struct {
	*Runtime
	t      *testing.T
	dirs   Config
	next   int
	daemon *daemon // nil: containers are this program's alone
}

// onBoth runs a test with containers of either kind.
func onBoth(t *testing.T, test func(t *testing.T, b *bed)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { test(t, newBed(t)) })
	t.Run("containerd", func(t *testing.T) { test(t, newTaskBed(t)) })
}

// newTaskBed is a bed whose containers' processes are a containerd's.
func newTaskBed(t *testing.T) *bed {
	t.Helper()
	return makeBed(t, theDaemon(t))
}

func newBed(t *testing.T) *bed {
	t.Helper()
	return makeBed(t, nil)
}

func makeBed(t *testing.T, d *daemon) *bed {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("these tests need root: run them with sudo, or in `unshare -Urnm --pid --fork`")
	}
	base := t.TempDir()
	b := &bed{t: t, daemon: d, dirs: Config{
		Dir: filepath.Join(base, "containers"), RunDir: filepath.Join(base, "run"), Self: testSelf,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Now: time.Now,
	}}
	if d != nil {
		b.dirs.Containerd = &containerd.Ref{Address: d.address, Namespace: "weft-" + filepath.Base(filepath.Dir(base))}
	}
	b.open()
	t.Cleanup(b.clean)
	return b
}

// open makes the Runtime; called again it is as if the engine had crashed and
// another had started.
func (b *bed) open() {
	b.t.Helper()
	if b.Runtime != nil {
		if err := b.Close(); err != nil {
			b.t.Fatal(err)
		}
	}
	r, err := New(b.dirs)
	if err != nil {
		b.t.Fatal(err)
	}
	b.Runtime = r
}

func (b *bed) clean() {
	if err := b.Sweep(context.Background(), nil); err != nil {
		b.t.Error(err)
	}
	eventually(b.t, "all shims and processes to be gone", func() bool { return len(b.processes()) == 0 })
	for _, dir := range []string{b.dirs.Dir, b.dirs.RunDir} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			b.t.Errorf("left in %s: %v %v", dir, left, err)
		}
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), b.dirs.RunDir) {
		b.t.Errorf("mounts left: %v\n%s", err, mounts)
	}
	if err := b.Close(); err != nil {
		b.t.Error(err)
	}
	if b.daemon != nil {
		b.daemon.empty(b.t, b.dirs.Containerd.Namespace)
	}
}

// processes gives the command lines of this bed's shims and their children.
func (b *bed) processes() []string {
	var found []string
	shims := map[string]bool{}
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		cmd, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err == nil && strings.Contains(string(cmd), b.dirs.RunDir) {
			shims[filepath.Base(dir)] = true
			found = append(found, strings.ReplaceAll(string(cmd), "\x00", " "))
		}
	}
	for _, dir := range dirs {
		stat, _ := os.ReadFile(filepath.Join(dir, "stat"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if f := strings.Fields(rest); len(f) > 1 && shims[f[1]] {
			found = append(found, string(stat))
		}
	}
	return found
}

// testID gives a container's ID: no other process's tests have it, whose
// cgroups have the same parent.
func testID(n int) string { return fmt.Sprintf("%064x", os.Getpid()<<20|n) }

// each is how many processes a container that runs has: its shim, and its
// first one unless that is containerd's.
func (b *bed) each() int {
	if b.daemon != nil {
		return 1
	}
	return 2
}

// probe is a process of the built-in image.
func probe(args ...string) model.ProcessSpec {
	return model.ProcessSpec{Entrypoint: []string{probePath}, Args: args}
}

// create makes a container of a command and gives its ID.
func (b *bed) create(p model.ProcessSpec) string {
	b.t.Helper()
	b.next++
	id := testID(b.next)
	if len(p.Entrypoint) == 0 {
		p.Entrypoint = []string{probePath}
	}
	if err := b.Create(context.Background(), Spec{ID: id, Process: p, Builtin: true, Containerd: b.dirs.Containerd}); err != nil {
		b.t.Fatal(err)
	}
	return id
}

func (b *bed) start(id string) int {
	b.t.Helper()
	pid, err := b.Start(deadline(b.t), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return pid
}

func (b *bed) wait(id string) model.ExitStatus {
	b.t.Helper()
	st, err := b.Wait(deadline(b.t), id)
	if err != nil {
		b.t.Fatal(err)
	}
	return st
}

// run runs a command to its end and gives its log.
func (b *bed) run(args ...string) (model.ExitStatus, string, string) {
	b.t.Helper()
	return b.runSpec(model.ProcessSpec{Args: args})
}

func (b *bed) runSpec(p model.ProcessSpec) (model.ExitStatus, string, string) {
	b.t.Helper()
	id := b.create(p)
	b.start(id)
	st := b.wait(id)
	out, err := b.logs(id, LogOptions{Tail: -1})
	return st, out, err
}

func (b *bed) logs(id string, opts LogOptions) (string, string) {
	b.t.Helper()
	var out, err strings.Builder
	if e := b.Logs(deadline(b.t), id, opts, &out, &err); e != nil {
		b.t.Fatal(e)
	}
	return out.String(), err.String()
}

// ready waits until the first line of a container's run is in its log.
func (b *bed) ready(id string) {
	b.t.Helper()
	st, err := b.State(b.t.Context(), id)
	if err != nil {
		b.t.Fatal(err)
	}
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(deadline(b.t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.CloseWithError(b.Logs(ctx, id, LogOptions{Follow: true, Since: st.Started, Tail: -1}, w, nil))
	}()
	if _, err := r.Read(make([]byte, 1)); err != nil {
		b.t.Error(err)
	}
	cancel()
	_ = r.Close()
	<-done
}

func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// eventually polls a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(15 * time.Second)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Errorf("waited in vain for %s", what)
			return
		}
	}
}

func isExec(err error, code int) bool {
	var e *ExecError
	return errors.As(err, &e) && e.Code == code
}
