package system

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/cmdtest"
)

var update = flag.Bool("update", false, "write golden files anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

func captured(t *testing.T, got *string) *cobra.Command {
	t.Helper()
	env := cmdtest.NewSession(t, "", nil).Env
	say := func(format string, args ...any) error {
		*got = fmt.Sprintf(format, args...)
		return nil
	}
	cmd := &cobra.Command{Use: "system", SilenceErrors: true, SilenceUsage: true}
	cmd.SetOut(io.Discard)
	cmd.AddCommand(
		newVersionCommand(env, func(o *versionOptions) error { return say("format=%q", o.format) }),
		newInfoCommand(env, func(o *infoOptions) error { return say("format=%q", o.format) }),
		newEventsCommand(env, func(o *eventsOptions) error {
			return say("since=%q until=%q format=%q filter=%s", o.since, o.until, o.format, o.filter.String())
		}),
		newInspectCommand(env, func(o *inspectOptions) error {
			return say("%v format=%q type=%q size=%t", o.refs, o.format, o.kind, o.size)
		}),
	)
	return cmd
}

func TestOptions(t *testing.T) {
	for args, want := range map[string]struct{ out, err string }{
		"version -f x": {out: `format="x"`},
		"info":         {out: `format=""`},
		"events --since 1 --until 2 -f type=network --format x": {out: `since="1" until="2" format="x" filter={"type":{"network":true}}`},
		"inspect -s -f x --type node a b":                       {out: `[a b] format="x" type="node" size=true`},
		"info x":                                                {err: "accepts no arguments"},
		"inspect":                                               {err: "requires at least 1 argument"},
		"inspect --type odd a":                                  {err: `unknown type: "odd": must be one of "config", "container", "image", "network", "node", "secret", "service", "task", "volume"`},
	} {
		var got string
		cmd := captured(t, &got)
		cmd.SetArgs(strings.Fields(args))
		err := cmd.Execute()
		if want.err != "" {
			if err == nil || !strings.Contains(err.Error(), want.err) {
				t.Errorf("%s: %v, want an error with %q", args, err, want.err)
			}
			continue
		}
		if err != nil || got != want.out {
			t.Errorf("%s: got %s, %v, want %s", args, got, err, want.out)
		}
	}
}

// TestInfoText holds every line there can be; it was compared with docker's.
func TestInfoText(t *testing.T) {
	history, snapshots := int64(5), uint64(1)
	info := &system.Info{
		ID: "idx", Containers: 3, ContainersRunning: 1, ContainersPaused: 1, ContainersStopped: 1, Images: 2,
		ServerVersion: "28.5.2", Driver: "overlay2", DriverStatus: [][2]string{{"Backing Filesystem", "ext4"}},
		SystemStatus: [][2]string{{"Role", "x"}}, LoggingDriver: "json-file", CgroupDriver: "systemd", CgroupVersion: "2",
		Plugins:     system.PluginsInfo{Volume: []string{"local"}, Network: []string{"bridge", "overlay"}, Authorization: []string{"az"}, Log: []string{"json-file"}},
		CDISpecDirs: []string{"/etc/cdi"},
		Runtimes:    map[string]system.RuntimeWithStatus{"runc": {}, "crun": {}}, DefaultRuntime: "runc",
		OSType: "linux", InitBinary: "docker-init", SecurityOptions: []string{"name=apparmor", "name=seccomp,profile=builtin"},
		ContainerdCommit: system.Commit{ID: "c1"}, RuncCommit: system.Commit{ID: "r1"}, InitCommit: system.Commit{ID: "i1"},
		KernelVersion: "6.1", OperatingSystem: "Debian", Architecture: "x86_64", NCPU: 2, MemTotal: 1 << 30, Name: "host", DockerRootDir: "/d",
		Debug: true, NFd: 9, NGoroutines: 8, SystemTime: "now", NEventsListener: 1,
		HTTPProxy: "h", HTTPSProxy: "hs", NoProxy: "n", Labels: []string{"a=b"}, ExperimentalBuild: true,
		RegistryConfig: &registry.ServiceConfig{
			IndexConfigs: map[string]*registry.IndexInfo{"docker.io": {Name: "docker.io", Secure: true}, "r:5000": {Name: "r:5000"}},
			Mirrors:      []string{"https://m/"},
		},
		LiveRestoreEnabled: true, ProductLicense: "L", DefaultAddressPools: []system.NetworkAddressPool{{Base: "10.0.0.0/8", Size: 24}},
		Swarm: swarm.Info{
			NodeID: "n1", NodeAddr: "10.0.0.1", LocalNodeState: swarm.LocalNodeStateActive, ControlAvailable: true, Managers: 1, Nodes: 2,
			RemoteManagers: []swarm.Peer{{Addr: "10.0.0.2:2377"}, {Addr: "10.0.0.1:2377"}},
			Cluster: &swarm.ClusterInfo{
				ID: "c1", DefaultAddrPool: []string{"10.0.0.0/8"}, SubnetSize: 24, DataPathPort: 4789,
				Spec: swarm.Spec{
					Orchestration: swarm.OrchestrationConfig{TaskHistoryRetentionLimit: &history},
					Raft:          swarm.RaftConfig{SnapshotInterval: 10000, KeepOldSnapshots: &snapshots, HeartbeatTick: 1, ElectionTick: 10},
					Dispatcher:    swarm.DispatcherConfig{HeartbeatPeriod: 5 * time.Second},
					CAConfig: swarm.CAConfig{
						NodeCertExpiry: 90 * 24 * time.Hour, SigningCACert: "PEM\n",
						ExternalCAs: []*swarm.ExternalCA{{Protocol: swarm.ExternalCAProtocolCFSSL, URL: "https://ca"}},
					},
				},
			},
		},
	}
	var out bytes.Buffer
	p := infoPrinter{out: &out}
	p.server(info)
	golden(t, "info", out.String())
}

func TestVersionText(t *testing.T) {
	var out bytes.Buffer
	server := types.Version{Version: "1", APIVersion: "1.41", MinAPIVersion: "1.12", GoVersion: "go1", Os: "linux", Arch: "amd64", BuildTime: "2025-01-02T03:04:05Z"}
	server.Components = append(server.Components, types.ComponentVersion{Name: "runc", Version: "2", Details: map[string]string{"GitCommit": "x", "A": "b"}}, engineComponent(server))
	err := writeVersions(&out, versions{
		Client: clientVersion{Version: "0", APIVersion: "1.41", DefaultAPIVersion: "1.51", GitCommit: "g", GoVersion: "go", Os: "linux", Arch: "amd64", BuildTime: "t", Context: "default"},
		Server: &server,
	})
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "version", out.String())
}

func TestEventText(t *testing.T) {
	for _, tt := range []struct {
		m    events.Message
		want string
	}{
		{events.Message{Type: "node", Action: "update", Actor: events.Actor{ID: "n"}}, "node update n\n"},
		{
			events.Message{Type: "network", Action: "connect", Actor: events.Actor{ID: "x", Attributes: map[string]string{"b": "2", "a": "1"}}, Time: 1},
			time.Unix(1, 0).Format(stamp) + " network connect x (a=1, b=2)\n",
		},
	} {
		var out bytes.Buffer
		if writeEvent(&out, tt.m); out.String() != tt.want {
			t.Errorf("got %q, want %q", out.String(), tt.want)
		}
	}
}

func TestEventTemplate(t *testing.T) {
	for _, format := range []string{"{{", "{{.Nope}}"} {
		_, err := eventTemplate(format)
		var status cmdenv.StatusError
		if !errors.As(err, &status) || status.Code != cmdenv.CodeTemplate || !strings.HasPrefix(status.Status, "Error parsing format: ") {
			t.Errorf("%s: %v", format, err)
		}
	}
}

func TestNeedsServer(t *testing.T) {
	r := newReport(cmdtest.NewSession(t, "", nil).Env)
	for format, want := range map[string]bool{
		"json": true, "{{json .}}": true, "x": true, "{{.Name}}": true,
		"{{.ClientInfo.Version}}": false, "{{.ClientInfo.Version}} {{.ID}}": true,
	} {
		tmpl, err := parseFormat(format, "")
		if err != nil {
			t.Fatal(err)
		}
		if got := needsServer(tmpl, format, r); got != want {
			t.Errorf("needsServer(%s) = %t, want %t", format, got, want)
		}
	}
}
