package probe

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/netnstest"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// process is a probe that goes on.
type process struct {
	tb   testing.TB
	cmd  *exec.Cmd
	in   *os.File // open until the test ends
	out  *os.File
	text *bufio.Reader
	errs bytes.Buffer
	done bool
}

// start runs the probe as a process in ns, or where the test is without one.
// A goroutine in a namespace starts others outside of it; a process doesn't.
func start(tb testing.TB, ns *kernel.Namespace, args ...string) *process {
	tb.Helper()
	self, err := os.Executable()
	must(tb, err)
	stdin, in, err := os.Pipe()
	must(tb, err)
	out, stdout, err := os.Pipe()
	must(tb, err)
	p := &process{tb: tb, cmd: exec.CommandContext(tb.Context(), self), in: in, out: out, text: bufio.NewReader(out)}
	p.cmd.Args = append([]string{"probe"}, args...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, stdout, &p.errs
	if ns == nil {
		err = p.cmd.Start()
	} else {
		err = kernel.Do(ns, p.cmd.Start)
	}
	_, _ = stdin.Close(), stdout.Close()
	must(tb, err)
	tb.Cleanup(func() {
		if !p.done {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
		_, _ = in.Close(), out.Close()
	})
	must(tb, out.SetReadDeadline(time.Now().Add(patience)))
	return p
}

// await reads lines until one contains text, and gives it.
func (p *process) await(text string) string {
	p.tb.Helper()
	for {
		line, err := p.text.ReadString('\n')
		if err != nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
			p.done = true
			p.tb.Fatalf("%v: no %q: %v\n%s", p.cmd.Args, text, err, &p.errs)
		}
		if strings.Contains(line, text) {
			return line
		}
	}
}

// wait gives what the process leaves when it ends.
func (p *process) wait() result {
	p.tb.Helper()
	var rest bytes.Buffer
	_, err := rest.ReadFrom(p.text)
	if err != nil {
		_ = p.cmd.Process.Kill()
		p.tb.Errorf("%v goes on: %v", p.cmd.Args, err)
	}
	p.done = true
	var exit *exec.ExitError
	if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		p.tb.Fatal(err)
	}
	return result{p.cmd.ProcessState.ExitCode(), rest.String(), p.errs.String()}
}

func (p *process) signal(sig syscall.Signal) result {
	p.tb.Helper()
	must(p.tb, p.cmd.Process.Signal(sig))
	return p.wait()
}

// in runs the probe in ns until it ends.
func in(tb testing.TB, ns *kernel.Namespace, args ...string) result {
	tb.Helper()
	return start(tb, ns, args...).wait()
}

// serving runs `probe serve` in ns until the test ends.
func serving(tb testing.TB, ns *kernel.Namespace, args ...string) {
	tb.Helper()
	start(tb, ns, append([]string{"serve"}, args...)...).await("probe: HTTP on")
}

// families runs a test with a host's address of each family.
func families(t *testing.T, fn func(t *testing.T, addr func(*netnstest.Host) string)) {
	t.Helper()
	t.Run("IPv4", func(t *testing.T) { fn(t, func(h *netnstest.Host) string { return h.Addr.String() }) })
	t.Run("IPv6", func(t *testing.T) { fn(t, func(h *netnstest.Host) string { return h.AddrV6.String() }) })
}
