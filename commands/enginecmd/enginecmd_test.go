package enginecmd

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

func parse(t *testing.T, args ...string) (*runOptions, error) {
	t.Helper()
	var o runOptions
	cmd := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return nil }, SilenceUsage: true, SilenceErrors: true}
	env := cmdenv.New(strings.NewReader(""), io.Discard, io.Discard, func(string) string { return "" })
	env.Dirs = cmdenv.DefaultDirs(0, env.Getenv)
	o.bind(cmd, env)
	cmd.SetArgs(args)
	return &o, cmd.Execute()
}

func TestOptionsRoundTrip(t *testing.T) {
	// What `start` hands to `run` must mean the same.
	o, err := parse(t, "--data-dir", "/d", "--run-dir", "/r", "--listen", "unix:///a", "--listen", "unix:///b",
		"--data-path-addr", "eth1", "--data-path-port", "7789", "--default-addr-pool", "10.0.0.0/8",
		"--default-addr-pool", "172.30.0.0/16", "--default-addr-pool-mask-length", "26",
		"--runtime", "containerd", "--containerd", "/c.sock")
	if err != nil {
		t.Fatal(err)
	}
	again, err := parse(t, o.args()[2:]...)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := strings.Join(o.args(), " "), strings.Join(again.args(), " "); a != b {
		t.Errorf("round trip:\n%s\n%s", a, b)
	}
	cfg, err := o.config()
	if err != nil || len(cfg.DefaultAddrPool) != 2 || cfg.SubnetSize != 26 || cfg.DataPathPort != 7789 || cfg.DataPathAddr != "eth1" ||
		cfg.Runtime != "containerd" || cfg.Containerd != "/c.sock" {
		t.Errorf("config = %+v, %v", cfg, err)
	}
}

func TestBadPool(t *testing.T) {
	o, err := parse(t, "--default-addr-pool", "10.0.0.0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.config(); err == nil || !strings.Contains(err.Error(), "--default-addr-pool") {
		t.Errorf("config = %v, want an error that names the flag", err)
	}
}

func TestReadiness(t *testing.T) {
	r, err := newReadiness()
	if err != nil {
		t.Fatal(err)
	}
	getenv := func(k string) string { return map[string]string{notifyVar: r.path()}[k] }
	for _, state := range []string{"STATUS=warming up", "STATUS=done\nREADY=1"} {
		if err := notify(getenv, state); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.wait(t.Context()); err != nil {
		t.Errorf("wait = %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.wait(ctx); err == nil {
		t.Error("wait with an ended context gave no error")
	}
	_ = r.close()
	if _, err := os.Stat(filepath.Dir(r.path())); !os.IsNotExist(err) {
		t.Errorf("left its directory behind: %v", err)
	}
	if err := notify(func(string) string { return "" }, "READY=1"); err != nil {
		t.Errorf("notify without a socket = %v", err)
	}
}

func TestLogsTail(t *testing.T) {
	var all strings.Builder
	for i := range 20000 {
		all.WriteString("line " + strconv.Itoa(i) + "\n")
	}
	path := filepath.Join(t.TempDir(), logName)
	if err := os.WriteFile(path, []byte(all.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		tail  int
		lines int
		first string
	}{{-1, 20000, "line 0"}, {0, 0, ""}, {1, 1, "line 19999"}, {15000, 15000, "line 5000"}, {30000, 20000, "line 0"}}
	for _, tc := range cases {
		var out bytes.Buffer
		if err := logs(t.Context(), &out, path, tc.tail, false); err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(out.String(), "\n")
		if n := strings.Count(out.String(), "\n"); n != tc.lines || first != tc.first {
			t.Errorf("tail %d gave %d lines from %q, want %d from %q", tc.tail, n, first, tc.lines, tc.first)
		}
	}
	if err := logs(t.Context(), &bytes.Buffer{}, path+"x", -1, false); err == nil || !strings.Contains(err.Error(), "--data-dir") {
		t.Errorf("logs of nothing = %v", err)
	}
}

func TestUnit(t *testing.T) {
	o, err := parse(t, "--data-path-addr", "eth1", "--listen", "unix:///run/a%b.sock")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := writeUnit(&out, append([]string{"/opt/my tools/weft"}, o.args()...), false); err != nil {
		t.Fatal(err)
	}
	const want = `ExecStart="/opt/my tools/weft" engine run --data-dir /var/lib/weft --run-dir /run/weft --listen unix:///run/a%%b.sock --data-path-addr eth1`
	if !strings.Contains(out.String(), want+"\n") || !strings.Contains(out.String(), "Type=notify") {
		t.Errorf("unit:\n%s", out.String())
	}
}

func TestUnitOfAnOrdinaryUser(t *testing.T) {
	var out bytes.Buffer
	if err := writeUnit(&out, []string{"/usr/bin/weft", "engine", "run"}, true); err != nil {
		t.Fatal(err)
	}
	const want = `[Unit]
Description=weft overlay engine
StartLimitBurst=5
StartLimitIntervalSec=60

[Service]
Type=notify
NotifyAccess=all
ExecStart=/usr/bin/weft engine run
KillMode=process
Restart=on-failure
RestartSec=1
TimeoutStopSec=120

[Install]
WantedBy=default.target
`
	if out.String() != want {
		t.Errorf("unit:\n%s", out.String())
	}
}

func TestStatusAndStopWithoutEngine(t *testing.T) {
	var out bytes.Buffer
	env := cmdenv.New(strings.NewReader(""), &out, &out, func(string) string { return "" })
	dir := t.TempDir()
	st := newStatus(env)
	st.SetArgs([]string{"--run-dir", dir})
	st.SilenceErrors, st.SilenceUsage = true, true
	if err := st.Execute(); err == nil || !strings.Contains(err.Error(), "weft engine start") {
		t.Errorf("status = %v", err)
	}
	stop := newStop(env)
	stop.SetArgs([]string{"--run-dir", dir, "--timeout", time.Second.String()})
	if err := stop.Execute(); err != nil {
		t.Errorf("stopping nothing = %v", err)
	}
}
