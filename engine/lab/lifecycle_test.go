package lab_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"weft/engine/kernel"
	"weft/engine/lab"
	"weft/engine/netnstest"
)

func TestHostsAreMachinesOnANetwork(t *testing.T) {
	l := up(t, lab.Config{MTU: 9000, Subnets: []netip.Prefix{netip.MustParsePrefix("10.9.8.0/29")}})
	hosts, err := l.Hosts()
	if err != nil || len(hosts) != 3 {
		t.Fatalf("hosts: %v, %v", hosts, err)
	}
	if want := netip.MustParsePrefix("10.9.8.2/29"); hosts[1].Addr != want {
		t.Errorf("host2 has %s, want %s", hosts[1].Addr, want)
	}
	for script, want := range map[string]string{
		"hostname":                                "host2",
		"cat /sys/class/net/eth0/mtu":             "9000",
		"ls /sys/class/net":                       "eth0\nlo",
		"ls /run":                                 "weft",
		"tr '\\0' ' ' < /proc/1/cmdline":          lab.HostName + " " + filepath.Dir(hosts[1].DataDir()) + " ",
		"cat /proc/mounts | grep -c nsfs || true": "0",
	} {
		if out := mustRun(t, l, "host2", script); out != strings.TrimSpace(want) {
			t.Errorf("%s: %q, want %q", script, out, want)
		}
	}
	for _, to := range []string{"host1", "host3", hosts[2].Addr.Addr().String(), hosts[2].Addr6.Addr().String()} {
		if !reaches(t, l, "host2", to) {
			t.Errorf("host2 does not reach %s", to)
		}
	}
	if !reaches(t, l, "host1", "-s 8900 host2") {
		t.Error("a packet of nearly the MTU does not get through")
	}
}

func TestPartition(t *testing.T) {
	l := up(t, lab.Config{})
	ctx := t.Context()
	for range 2 { // the second changes nothing
		if err := l.Partition(ctx, "host2", "host1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Partition(ctx, "host3", "host2"); err != nil {
		t.Fatal(err)
	}
	want := []lab.Pair{{A: "host1", B: "host2"}, {A: "host2", B: "host3"}}
	if cut, err := l.Partitions(); err != nil || !slices.Equal(cut, want) {
		t.Errorf("partitions: %v, %v", cut, err)
	}
	ns, err := kernel.Open(l.Underlay())
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	listing := netnstest.Exec(t, ns, "nft", "list", "table", "bridge", "weft_lab")
	// Pings fail also when only one direction is cut; this shows both.
	for _, want := range []string{
		`"host1" . "host2"`, `"host2" . "host1"`, `"host2" . "host3"`, `"host3" . "host2"`,
		"type filter hook forward priority 0; policy accept;", "iifname . oifname @cut drop",
	} {
		if !strings.Contains(listing, want) {
			t.Errorf("no %s in\n%s", want, listing)
		}
	}
	// A switch does not forget when a host reboots.
	if err := errors.Join(l.Kill(ctx, "host1"), l.Start(ctx, "host1")); err != nil {
		t.Fatal(err)
	}
	expect := func(from, to string, want bool) {
		t.Helper()
		if want { // neighbor discovery asks again only after a second
			eventually(t, from+" reaches "+to, func() bool { return reaches(t, l, from, to) })
		} else if reaches(t, l, from, to) {
			t.Errorf("%s reaches %s", from, to)
		}
	}
	expect("host1", "host2", false)
	expect("host2", "host1", false)
	expect("host2", "host3", false)
	expect("host1", "host3", true)
	for range 2 {
		if err := l.Heal(ctx, "host1", "host2"); err != nil {
			t.Fatal(err)
		}
	}
	expect("host1", "host2", true)
	expect("host3", "host2", false)
	mended, err := l.HealAll(ctx)
	if err != nil || !slices.Equal(mended, want[1:]) {
		t.Errorf("mended: %v, %v", mended, err)
	}
	expect("host3", "host2", true)
	if err := l.Partition(ctx, "host1", "host1"); !errdefs.IsInvalidArgument(err) {
		t.Errorf("partition of a host from itself: %v", err)
	}
	if err := l.Partition(ctx, "host1", "host9"); !errdefs.IsNotFound(err) {
		t.Errorf("partition from an unknown host: %v", err)
	}
}

func TestPowerCutAndBoot(t *testing.T) {
	l := up(t, lab.Config{Hosts: 2, Boot: func(h lab.Host) lab.Boot {
		return lab.Boot{Command: []string{"sh", "-c", "echo boot >> " + h.DataDir() + "/boots; touch /run/weft/up; sleep 1000; exit"}}
	}})
	ctx := t.Context()
	host1, err := l.Host("host1")
	if err != nil {
		t.Fatal(err)
	}
	running := func() bool { _, err := os.Stat(host1.RunPath() + "/up"); return err == nil }
	eventually(t, "the command runs", running)
	mac := mustRun(t, l, "host1", "cat /sys/class/net/eth0/address")
	mustRun(t, l, "host1", "touch /run/weft/stale; (setsid sleep 1000 >/dev/null 2>&1 &)")
	marked := processes(t, host1.DataDir())

	if err := l.Kill(ctx, "host1"); err != nil {
		t.Fatal(err)
	}
	if left := processes(t, host1.DataDir()); len(marked) == 0 || len(left) > 0 {
		t.Errorf("processes before %v, after the power cut %v", marked, left)
	}
	if reaches(t, l, "host2", "host1") {
		t.Error("a dead host answers")
	}
	st, err := l.Status(ctx)
	if err != nil || st[0].PID != 0 || st[0].Engine != lab.EngineOff || st[1].PID == 0 {
		t.Errorf("status: %+v, %v", st, err)
	}
	if err := l.Kill(ctx, "host1"); !errdefs.IsConflict(err) {
		t.Errorf("kill of a dead host: %v", err)
	}
	if _, err := run(t, l, "host1", "true"); !errdefs.IsConflict(err) {
		t.Errorf("exec in a dead host: %v", err)
	}

	if err := l.Start(ctx, "host1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(ctx, "host1"); !errdefs.IsConflict(err) {
		t.Errorf("start of a running host: %v", err)
	}
	eventually(t, "the command runs again", running)
	if b, err := os.ReadFile(host1.DataDir() + "/boots"); err != nil || string(b) != "boot\nboot\n" {
		t.Errorf("the disk says %q, %v", b, err)
	}
	if _, err := os.Stat(host1.RunPath() + "/stale"); err == nil {
		t.Error("the run directory was not cleared")
	}
	if again := mustRun(t, l, "host1", "cat /sys/class/net/eth0/address"); again != mac {
		t.Errorf("MAC address %s became %s", mac, again)
	}
	eventually(t, "the host that is back answers", func() bool { return reaches(t, l, "host2", "host1") })
}

func TestSupervision(t *testing.T) {
	script := `echo $$ > DATA/pid; echo start >> DATA/starts; trap 'exit 0' USR1; trap 'echo term >> DATA/starts; exit 0' TERM; sleep 1000 & while :; do wait $!; done`
	l := up(t, lab.Config{Hosts: 1, Boot: func(h lab.Host) lab.Boot {
		return lab.Boot{Command: []string{"sh", "-c", strings.ReplaceAll(script, "DATA", h.DataDir())}}
	}})
	host1, err := l.Host("host1")
	if err != nil {
		t.Fatal(err)
	}
	says := func(want string) func() bool {
		return func() bool { b, _ := os.ReadFile(host1.DataDir() + "/starts"); return string(b) == want }
	}
	eventually(t, "first start", says("start\n"))
	mustRun(t, l, "host1", "kill -9 $(cat "+host1.DataDir()+"/pid)")
	eventually(t, "start after SIGKILL", says("start\nstart\n"))
	// A signal to PID 1 goes to the command; SIGTERM ends the host.
	st, err := l.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := os.FindProcess(st[0].PID)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Signal(os.Signal(sigterm)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "clean shutdown", says("start\nstart\nterm\n"))
	eventually(t, "the host is off", func() bool {
		st, err := l.Status(t.Context())
		return err == nil && st[0].PID == 0
	})
	if _, err := p.Wait(); err != nil {
		t.Error(err)
	}
}

func TestCommandThatEndsWithZeroStaysDown(t *testing.T) {
	l := up(t, lab.Config{Hosts: 1, Boot: func(h lab.Host) lab.Boot {
		return lab.Boot{Command: []string{"sh", "-c", "echo start >> " + h.DataDir() + "/starts"}}
	}})
	host1, err := l.Host("host1")
	if err != nil {
		t.Fatal(err)
	}
	// Longer than the delay of a restart: this is what must not happen.
	mustRun(t, l, "host1", "sleep 1.5")
	if b, err := os.ReadFile(host1.DataDir() + "/starts"); err != nil || string(b) != "start\n" {
		t.Errorf("starts: %q, %v", b, err)
	}
}

func TestExec(t *testing.T) {
	l := up(t, lab.Config{Hosts: 1, Boot: func(lab.Host) lab.Boot { return lab.Boot{Env: []string{"COLOR=green"}} }})
	ctx := t.Context()
	t.Run("exit status", func(t *testing.T) {
		_, err := run(t, l, "host1", "exit 7")
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 7 {
			t.Errorf("%v", err)
		}
	})
	t.Run("streams, directory and environment", func(t *testing.T) {
		t.Setenv("DOCKER_HOST", "unix:///outside")
		var out, errOut bytes.Buffer
		err := l.Exec(ctx, "host1", lab.Process{
			Args: []string{"sh", "-c", `cat; echo "$PWD $COLOR $DOCKER_HOST" >&2`}, Dir: "/usr",
			In: strings.NewReader("in"), Out: &out, Err: &errOut,
		})
		if err != nil || out.String() != "in" || errOut.String() != "/usr green \n" {
			t.Errorf("%v, %q, %q", err, out.String(), errOut.String())
		}
	})
	t.Run("not found", func(t *testing.T) {
		err := l.Exec(ctx, "host1", lab.Process{Args: []string{"no-such-program"}})
		if !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
	t.Run("unknown host", func(t *testing.T) {
		_, err := run(t, l, "host2", "true")
		if !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), "host1") {
			t.Errorf("%v", err)
		}
	})
	t.Run("signals", func(t *testing.T) {
		signals := make(chan os.Signal, 1)
		signals <- sigterm
		err := l.Exec(ctx, "host1", lab.Process{Args: []string{"sleep", "100"}, Signals: signals})
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != -1 {
			t.Errorf("%v", err)
		}
	})
	t.Run("end of the context", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		err := l.Exec(ctx, "host1", lab.Process{Args: []string{"sleep", "100"}})
		if err == nil {
			t.Error("no error")
		}
	})
}
