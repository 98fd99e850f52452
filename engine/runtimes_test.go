package engine

import (
	"bytes"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/system"

	"weft/engine/containerd"
)

func TestRuntimeFlags(t *testing.T) {
	for _, c := range []struct{ runtime, socket, want, wantErr string }{
		{"", "", RuntimeAuto + " " + containerd.DefaultAddress, ""},
		{RuntimeContainerd, "/c.sock", "containerd /c.sock", ""},
		{RuntimeEmbedded, "unix:///c.sock", "embedded /c.sock", ""},
		{"runc", "", "", `--runtime "runc": must be auto, embedded or containerd`},
		{"", "c.sock", "", `--containerd "c.sock": must be the absolute path`},
		{"", "tcp://host:1", "", `--containerd "tcp://host:1": must be the absolute path`},
	} {
		cfg := Config{Runtime: c.runtime, Containerd: c.socket}
		err := cfg.checkRuntime()
		switch {
		case c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr) || !errdefs.IsInvalidArgument(err)):
			t.Errorf("%+v: %v", c, err)
		case c.wantErr == "" && (err != nil || cfg.Runtime+" "+cfg.Containerd != c.want):
			t.Errorf("%+v: %s %s %v", c, cfg.Runtime, cfg.Containerd, err)
		}
	}
}

// TestNoContainerd starts engines where nobody listens.
func TestNoContainerd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	for _, c := range []struct{ runtime, wantErr, wantLog string }{
		{RuntimeAuto, "", "no containerd at " + socket},
		{RuntimeEmbedded, "", "--runtime embedded"},
		{RuntimeContainerd, "name its socket with --containerd", ""},
	} {
		var log bytes.Buffer
		e := &Engine{cfg: Config{Runtime: c.runtime, Containerd: socket, Log: slog.New(slog.NewTextHandler(&log, nil))}}
		r, err := e.chooseRuntimes(t.Context())
		if c.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), c.wantErr) || !strings.Contains(err.Error(), socket) {
				t.Errorf("%s: %v", c.runtime, err)
			}
			continue
		}
		if err != nil || r.byDefault != embeddedName || r.containerd != nil || !strings.Contains(log.String(), c.wantLog) {
			t.Errorf("%s: %+v %v, log %s", c.runtime, r, err, log.String())
		}
		if _, err := r.of(containerd.RuntimeName); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "can't be used: ") {
			t.Errorf("%s: containerd asked for: %v", c.runtime, err)
		}
	}
}

func TestRuntimesOf(t *testing.T) {
	ref := &containerd.Ref{Address: "/c.sock", Namespace: "weft-X"}
	both := runtimes{byDefault: containerd.RuntimeName, containerd: ref, version: "1.6.20"}
	one := runtimes{byDefault: embeddedName, why: errors.New("no socket")}
	for _, c := range []struct {
		in   runtimes
		name string
		want *containerd.Ref
		err  string
	}{
		{both, containerd.RuntimeName, ref, ""},
		{both, embeddedName, nil, ""},
		{both, "kata", nil, "unknown or invalid runtime name: kata"},
		{one, embeddedName, nil, ""},
		{one, containerd.RuntimeName, nil, "runtime io.containerd.runc.v2 can't be used: no socket"},
	} {
		got, err := c.in.of(c.name)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("%s of %+v: %v %v", c.name, c.in, got, err)
		}
	}
	var info system.Info
	both.info(&info, "/bin/weft")
	if info.DefaultRuntime != containerd.RuntimeName || len(info.Runtimes) != 2 || info.Runtimes[embeddedName].Path != "/bin/weft" ||
		info.Containerd == nil || info.Containerd.Namespaces.Containers != "weft-X" || info.ContainerdCommit.ID != "1.6.20" {
		t.Errorf("info %+v", info)
	}
	info = system.Info{}
	one.info(&info, "/bin/weft")
	if info.DefaultRuntime != embeddedName || len(info.Runtimes) != 1 || info.Containerd != nil {
		t.Errorf("info %+v", info)
	}
}
