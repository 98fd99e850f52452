package container

import (
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/container"
	"github.com/spf13/cobra"

	"weft/commands/cmdtest"
)

func execute(cmd *cobra.Command, args []string) error {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SetArgs(args)
	return cmd.Execute()
}

// runCreation gives what a command line of run makes a container from.
func runCreation(t *testing.T, args []string) (creation, error) {
	t.Helper()
	var c creation
	err := execute(newRunCommand(cmdtest.NewSession(t, "", nil).Env, func(o *runOptions) error {
		var err error
		if c, err = o.flags.creation(o.image, o.args); err != nil {
			return err
		}
		return o.checkStreams(cmdtest.NewSession(t, "", nil).Env, c.config)
	}), args)
	return c, err
}

// at gives the part of a value at a path of JSON names, as JSON; "-" when it
// is not there.
func at(t *testing.T, v any, path string) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var part any
	if err := json.Unmarshal(data, &part); err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(path, ".") {
		fields, ok := part.(map[string]any)
		if !ok {
			return "-"
		}
		if part, ok = fields[name]; !ok {
			return "-"
		}
	}
	if data, err = json.Marshal(part); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestRunConfig(t *testing.T) {
	for _, tt := range []struct{ args, path, want string }{
		{"img cmd -x", "Config.Cmd", `["cmd","-x"]`},
		{"img", "Config.AttachStdout", "true"},
		{"img", "Config.AttachStdin", "false"},
		{"-a stderr img", "Config.AttachStdout", "false"},
		{"-a STDERR img", "Config.AttachStderr", "true"},
		{"-i img", "Config.StdinOnce", "true"},
		{"-d -i img", "Config.StdinOnce", "false"},
		{"-d img", "Config.AttachStdout", "false"},
		{"-d -i img", "Config.OpenStdin", "true"},
		{"-e A=1 -e A=2 -e B=3 img", "Config.Env", `["A=2","B=3"]`},
		{"-l a=b --label c img", "Config.Labels", `{"a":"b","c":""}`},
		{"--entrypoint sh img", "Config.Entrypoint", `["sh"]`},
		{"--entrypoint= img", "Config.Entrypoint", `[""]`},
		{"img", "Config.Entrypoint", "null"},
		{"-h host --domainname d -u 1 -w /w --stop-signal INT img", "Config.Hostname", `"host"`},
		{"--stop-timeout 0 img", "Config.StopTimeout", "0"},
		{"img", "Config.StopTimeout", "-"},
		{"--init=false img", "Host.Init", "false"},
		{"img", "Host.Init", "-"},
		{"--rm img", "Host.AutoRemove", "true"},
		{"--restart on-failure:3 img", "Host.RestartPolicy", `{"MaximumRetryCount":3,"Name":"on-failure"}`},
		{"--cap-add A --cap-drop B --privileged img", "Host.CapAdd", `["A"]`},
		{"--sysctl net.ipv4.ip_forward=1 img", "Host.Sysctls", `{"net.ipv4.ip_forward":"1"}`},
		{"--dns 1.1.1.1 --dns-search a.b --dns-option x --dns-opt y img", "Host.DnsOptions", `["x","y"]`},
		{"--add-host a:1.1.1.1 --add-host b=2.2.2.2 img", "Host.ExtraHosts", `["a:1.1.1.1","b:2.2.2.2"]`},
		{"-P img", "Host.PublishAllPorts", "true"},
		{"-p 8080:80 -p 127.0.0.1:53:53/udp img", "Host.PortBindings", `{"53/udp":[{"HostIp":"127.0.0.1","HostPort":"53"}],"80/tcp":[{"HostIp":"","HostPort":"8080"}]}`},
		{"-p published=8080,target=80,protocol=sctp img", "Host.PortBindings", `{"80/sctp":[{"HostIp":"","HostPort":"8080"}]}`},
		{"-p 80 --expose 90-91/udp img", "Config.ExposedPorts", `{"80/tcp":{},"90/udp":{},"91/udp":{}}`},
		{"img", "Host.NetworkMode", `"default"`},
		{"--net n1 img", "Host.NetworkMode", `"n1"`},
		{"--network n1 img", "Net.EndpointsConfig", `{}`},
		{"--network host img", "Net.EndpointsConfig", `{}`},
		{"--network n1 --ip 1.2.3.4 --ip6 ::1 --link-local-ip 169.254.1.1 img", "Net.EndpointsConfig.n1.IPAMConfig", `{"IPv4Address":"1.2.3.4","IPv6Address":"::1","LinkLocalIPs":["169.254.1.1"]}`},
		{"--network n1 --network-alias a --net-alias b --link db:x img", "Net.EndpointsConfig.n1.Aliases", `["a","b"]`},
		{"--network n1 --link db:x img", "Net.EndpointsConfig.n1.Links", `["db:x"]`},
		{"--link db:x img", "Host.Links", `["db:x"]`},
		{"--link db:x img", "Net.EndpointsConfig.default.Links", "null"},
		{"--network n1 --network n2 --ip 1.2.3.4 img", "Net.EndpointsConfig.n1.IPAMConfig", `{"IPv4Address":"1.2.3.4"}`},
		{"--network n1 --network n2 --ip 1.2.3.4 img", "Net.EndpointsConfig.n2.IPAMConfig", "null"},
		{"--network name=n1,driver-opt=k=v,gw-priority=3 img", "Net.EndpointsConfig.n1.DriverOpts", `{"k":"v"}`},
		{"--network name=n1,mac-address=02:42:ac:11:00:09 img", "Config.MacAddress", `"02:42:ac:11:00:09"`},
		{"--mac-address 02:42:ac:11:00:09 img", "Net.EndpointsConfig.default.MacAddress", `"02:42:ac:11:00:09"`},
		{"--network none --mac-address 02:42:ac:11:00:09 img", "Net.EndpointsConfig.none.MacAddress", `"02:42:ac:11:00:09"`},
	} {
		t.Run(tt.args+" "+tt.path, func(t *testing.T) {
			c, err := runCreation(t, strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			parts := map[string]any{"Config": c.config, "Host": c.host, "Net": c.networking}
			if got := at(t, parts, tt.path); got != tt.want {
				t.Errorf("%s = %s, want %s", tt.path, got, tt.want)
			}
		})
	}
}

func TestRunRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"":                                   "requires at least 1 argument",
		"-a odd img":                         "valid streams are STDIN, STDOUT and STDERR",
		"-d -a stdout img":                   "conflicting options: cannot specify both --attach and --detach",
		"-i -t img":                          "the input device is not a TTY",
		"--rm --restart always img":          "conflicting options: cannot specify both --restart and --rm",
		"--mac-address x img":                "x is not a valid mac address",
		"--network name=n,mac-address=x img": "x is not a valid mac address",
		"--network n1 --network n1 img":      `network "n1" is specified multiple times`,
		"--network n1 --network host img":    "conflicting options: cannot attach both user-defined and non-user-defined network-modes",
		"--network name=n,ip=1.1.1.1 --ip 1.1.1.2 img":                                       "conflicting options: cannot specify both --ip and per-network IPv4 address",
		"--network name=n,ip6=::1 --ip6 ::2 img":                                             "cannot specify both --ip6 and per-network IPv6 address",
		"--network name=n,alias=a --network-alias b img":                                     "cannot specify both --network-alias and per-network alias",
		"--network name=n,link-local-ip=1.1.1.1 --link-local-ip 2.2.2.2 img":                 "cannot specify both --link-local-ip and per-network link-local IP addresses",
		"--network name=n,mac-address=02:42:ac:11:00:09 --mac-address 02:42:ac:11:00:08 img": "cannot specify both --mac-address and per-network MAC address",
		"--network host --network-alias a img":                                               "network-scoped aliases are only supported for user-defined networks",
		"--network name=n,odd=1 img":                                                         "invalid field key odd",
		"--expose 1:2 img":                                                                   "invalid port format for --expose: 1:2",
		"--expose x img":                                                                     "invalid range format for --expose: x",
		"-p published=1,odd img":                                                             "invalid publish opts format (should be name=value but got 'odd')",
		"-p 99999:80 img":                                                                    "invalid hostPort: 99999",
		"--dns x img":                                                                        "IP address is not correctly formatted: x",
	} {
		_, err := runCreation(t, strings.Fields(args))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("run %s: error %v, want one with %q", args, err, want)
		}
	}
}

func TestCIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cid")
	c, err := openCIDFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openCIDFile(path); err == nil || !strings.Contains(err.Error(), "container ID file found, make sure the other container isn't running or delete "+path) {
		t.Errorf("a second one gives %v", err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("without a container the file stays: %v", err)
	}
	if c, err = openCIDFile(path); err != nil {
		t.Fatal(err)
	}
	if err := c.write("abc"); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); string(got) != "abc" || err != nil {
		t.Errorf("the file holds %q, %v", got, err)
	}
}

func TestPortList(t *testing.T) {
	p := func(private, public uint16, ip, protocol string) container.Port {
		return container.Port{IP: ip, PrivatePort: private, PublicPort: public, Type: protocol}
	}
	for _, tt := range []struct {
		ports []container.Port
		want  string
	}{
		{nil, ""},
		{[]container.Port{p(80, 0, "", "tcp")}, "80/tcp"},
		{[]container.Port{p(81, 0, "", "tcp"), p(80, 0, "", "tcp")}, "80-81/tcp"},
		{[]container.Port{p(80, 0, "", "tcp"), p(82, 0, "", "tcp")}, "80/tcp, 82/tcp"},
		{[]container.Port{p(80, 80, "::", "tcp"), p(81, 81, "::", "tcp")}, "[::]:80-81->80-81/tcp"},
		{[]container.Port{p(80, 8080, "1.2.3.4", "tcp"), p(81, 0, "", "udp")}, "81/udp, 1.2.3.4:8080->80/tcp"},
	} {
		if got := portList(tt.ports); got != tt.want {
			t.Errorf("portList(%v) = %q, want %q", tt.ports, got, tt.want)
		}
	}
}

func TestSizeIsAskedForWhenShown(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		o    psOptions
		want bool
	}{
		{psOptions{}, false},
		{psOptions{size: &yes}, true},
		{psOptions{format: "{{.ID}} {{.Size}}"}, true},
		{psOptions{format: "Size"}, false},
		{psOptions{format: "{{.Size}}", size: &no}, false},
		{psOptions{format: "{{.Size}}", quiet: true}, false},
	} {
		if got := tt.o.request(tt.o.format).Size; got != tt.want {
			t.Errorf("%+v: size %t, want %t", tt.o, got, tt.want)
		}
	}
}
