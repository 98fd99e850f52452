package dockerapi_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weft/engine/model"
)

func TestContainerSpec(t *testing.T) {
	nets := func(names ...string) []model.NetworkRequest {
		out := []model.NetworkRequest{}
		for _, n := range names {
			out = append(out, model.NetworkRequest{Network: n})
		}
		return out
	}
	for _, c := range []struct {
		name, version, body string
		want                func(*model.ContainerSpec)
	}{
		{"least", "1.51", `{"Image":"weft/probe"}`, func(s *model.ContainerSpec) { s.Networks = nets("bridge") }},
		{"bridge", "1.51", `{"Image":"weft/probe","HostConfig":{"NetworkMode":"bridge"}}`, func(s *model.ContainerSpec) { s.Networks = nets("bridge") }},
		{"none", "1.51", `{"Image":"weft/probe","HostConfig":{"NetworkMode":"none"},"NetworkingConfig":{"EndpointsConfig":{"none":{}}}}`, func(s *model.ContainerSpec) {
			s.NetworkMode, s.Networks = "none", nil
		}},
		{"process", "1.51", `{"Image":"weft/probe","Hostname":"h","User":"u","Env":["A=b"],"Cmd":["c","d"],"Entrypoint":["e"],"WorkingDir":"/w",
			"StopSignal":"INT","StopTimeout":7,"Tty":true,"OpenStdin":true,"Labels":{"l":"v"},"ExposedPorts":{"80/tcp":{}},"HostConfig":{"NetworkMode":"x","AutoRemove":true,
			"PortBindings":{"53/udp":[{"HostIp":"127.0.0.1","HostPort":"5300-5310"}],"443/tcp":[]},"PublishAllPorts":true,
			"Dns":["10.0.0.53"],"DnsSearch":["a.example"],"DnsOptions":["ndots:2"],"ExtraHosts":["h:10.0.0.1","gw:host-gateway"]}}`, func(s *model.ContainerSpec) {
			s.Process = model.ProcessSpec{
				Image: "weft/probe", Hostname: "h", User: "u", Env: []string{"A=b"}, Args: []string{"c", "d"}, Entrypoint: []string{"e"}, Dir: "/w",
				StopSignal: "INT", StopGrace: 7 * time.Second, TTY: true, OpenStdin: true,
			}
			s.Labels, s.AutoRemove, s.Networks = map[string]string{"l": "v"}, true, nets("x")
			dns, https := model.Port{Proto: "udp", Port: 53}, model.Port{Proto: "tcp", Port: 443}
			s.Expose, s.PublishAll = []model.Port{dns, {Proto: "tcp", Port: 80}, https}, true
			s.Ports = []model.PortBinding{{Port: dns, HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: 5300, HostPortEnd: 5310}, {Port: https}}
			s.Naming = model.Naming{
				Servers: []netip.Addr{netip.MustParseAddr("10.0.0.53")}, Search: []string{"a.example"}, Options: []string{"ndots:2"},
				ExtraHosts: []string{"h:10.0.0.1", "gw:host-gateway"},
			}
		}},
		{"shell forms", "1.51", `{"Image":"weft/probe","Cmd":"c","Entrypoint":"e"}`, func(s *model.ContainerSpec) {
			s.Process.Args, s.Process.Entrypoint, s.Networks = []string{"c"}, []string{"e"}, nets("bridge")
		}},
		{"stop at once", "1.51", `{"Image":"weft/probe","StopTimeout":0}`, func(s *model.ContainerSpec) {
			s.Process.StopGrace, s.Networks = time.Nanosecond, nets("bridge")
		}},
		{"stop without limit", "1.51", `{"Image":"weft/probe","StopTimeout":-1}`, func(s *model.ContainerSpec) {
			s.Process.StopGrace, s.Networks = -time.Second, nets("bridge")
		}},
		{"older clients remove containers themselves", "1.24", `{"Image":"weft/probe","HostConfig":{"AutoRemove":true}}`, func(s *model.ContainerSpec) {
			s.Networks = nets("bridge")
		}},
		{"endpoints", "1.44", `{"Image":"weft/probe","HostConfig":{"NetworkMode":"m"},"NetworkingConfig":{"EndpointsConfig":{
			"z":null,"a":{"Aliases":["x","y"]},"m":{"IPAMConfig":{"IPv4Address":"10.1.2.3","IPv6Address":"fd00::3"}}}}}`, func(s *model.ContainerSpec) {
			s.Networks = nets("m", "a", "z")
			s.Networks[0].Addr, s.Networks[0].AddrV6 = netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("fd00::3")
			s.Networks[1].Aliases = []string{"x", "y"}
		}},
		{"MAC address of an endpoint before API 1.44", "1.43", `{"Image":"weft/probe","HostConfig":{"NetworkMode":"n"},"NetworkingConfig":{"EndpointsConfig":{"n":{"MacAddress":"02:42:00:00:00:01"}}}}`, func(s *model.ContainerSpec) {
			s.Networks = nets("n")
		}},
		{"what docker 20.10 sends", "1.41", `{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,"AttachStderr":true,"Tty":false,"OpenStdin":false,
			"StdinOnce":false,"Env":[],"Cmd":null,"Image":"weft/probe","Volumes":{},"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{},
			"HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},"NetworkMode":"n","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},
			"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"CapAdd":null,"CapDrop":null,"CgroupnsMode":"","Dns":[],"DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,
			"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"","Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,
			"UTSMode":"","UsernsMode":"","ShmSize":0,"ConsoleSize":[0,0],"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"","BlkioWeight":0,"BlkioWeightDevice":[],
			"BlkioDeviceReadBps":null,"BlkioDeviceWriteBps":null,"BlkioDeviceReadIOps":null,"BlkioDeviceWriteIOps":null,"CpuPeriod":0,"CpuQuota":0,"CpuRealtimePeriod":0,
			"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":[],"DeviceCgroupRules":null,"DeviceRequests":null,"KernelMemory":0,"KernelMemoryTCP":0,
			"MemoryReservation":0,"MemorySwap":0,"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":null,"CpuCount":0,"CpuPercent":0,"IOMaximumIOps":0,
			"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null},"NetworkingConfig":{"EndpointsConfig":{}}}`, func(s *model.ContainerSpec) {
			s.Networks = nets("n")
		}},
	} {
		b := newBed(t)
		b.ok("POST", "/v"+c.version+"/containers/create?name=c", c.body)
		got, err := b.Spec("c")
		if err != nil {
			t.Fatal(err)
		}
		want := model.ContainerSpec{Name: "c", Process: model.ProcessSpec{
			Image: "weft/probe", Entrypoint: []string{"/probe"}, Args: []string{"serve"}, // the image's
		}}
		c.want(&want)
		if len(want.Networks) > 0 {
			want.NetworkMode = want.Networks[0].Network
		}
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); d != "" {
			t.Errorf("%s: -want +got\n%s", c.name, d)
		}
	}
}

func TestContainerCreateRefuses(t *testing.T) {
	b := newBed(t)
	const cannot = "; leave out what is named here, or use a Docker engine"
	for _, c := range []struct {
		body    string
		status  int
		message string
	}{
		{`{"Image":""}`, 400, "no image specified"},
		{
			`{"Image":"weft/probe","HostConfig":{"NetworkMode":"host"},"NetworkingConfig":{"EndpointsConfig":{"n":{}}}}`, 400,
			"conflicting options: cannot attach both user-defined and non-user-defined network-modes",
		},
		{`{"Image":"weft/probe","HostConfig":{"NetworkMode":"container:x","Dns":["10.0.0.1"]}}`, 400, "conflicting options: dns and the network mode"},
		{
			`{"Image":"weft/probe","HostConfig":{"NetworkMode":"container:x","PublishAllPorts":true}}`, 400,
			"conflicting options: port publishing and the container type network mode",
		},
		{`{"Image":"weft/probe","ExposedPorts":{"0/tcp":{}}}`, 400, `invalid port specification: "0/tcp"`},
		{`{"Image":"weft/probe","HostConfig":{"PortBindings":{"80/tcp":[{"HostPort":"90000"}]}}}`, 400, `invalid port specification: "90000"`},
		{`{"Image":"weft/probe","HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"x"}]}}}`, 400, `invalid IP address to publish port 80 at: "x"`},
		{`{"Image":"weft/probe","Healthcheck":{"Test":["X"]}}`, 400, `Unknown healthcheck type "X" (expected 'CMD')`},
		{`{"Image":"weft/probe","Healthcheck":{"Interval":5}}`, 400, "Interval in Healthcheck cannot be less than 1ms"},
		{`{"Image":"weft/probe","HostConfig":{"AutoRemove":true,"RestartPolicy":{"Name":"always"}}}`, 400, "can't create 'AutoRemove' container with restart policy"},
		{`{"Image":"weft/probe","HostConfig":{"Dns":["x"]}}`, 400, `invalid DNS server: "x" is not an IP address`},
		{`{"Image":"weft/probe","HostConfig":{"ExtraHosts":["x"]}}`, 400, `bad format for add-host: "x"`},
		{`{"Image":"weft/probe","HostConfig":{"NetworkMode":"container:"}}`, 400, "invalid network mode: invalid container format container:<name|id>"},
		{`{"Image":"weft/probe","Hostname":"h","HostConfig":{"NetworkMode":"container:x"}}`, 400, "conflicting options: hostname and the network mode"},
		{`{"Image":"weft/probe","Hostname":"h","HostConfig":{"UTSMode":"host"}}`, 400, "conflicting options: hostname and the UTS mode"},
		{
			`{"Image":"weft/probe","HostConfig":{"RestartPolicy":{"Name":"weird"}}}`, 400,
			"invalid restart policy: unknown policy 'weird'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
		},
		{
			`{"Image":"weft/probe","Volumes":{"/a":{}},"HostConfig":{"Privileged":true,"DeviceRequests":[{}]}}`, 501,
			"this engine cannot create a container with privileges (--privileged); " +
				"devices (--device, --gpus, …)" + cannot,
		},
		{`{"Image":"weft/probe","HostConfig":{"Binds":["/a:/b:ro","/c:/b"]}}`, 400, "Duplicate mount point: /b"},
		{`{"Image":"weft/probe","HostConfig":{"Binds":["/a:b"]}}`, 400, "invalid volume specification: '/a:b': invalid mount config for type \"bind\": invalid mount path: 'b' mount path must be absolute"},
		{`{"Image":"weft/probe","HostConfig":{"Binds":["/a:/b:fast"]}}`, 400, "invalid mode: fast"},
		{`{"Image":"weft/probe","HostConfig":{"Binds":["a:/b:ro,rw"]}}`, 400, "invalid mode: ro,rw"},
		{`{"Image":"weft/probe","HostConfig":{"Binds":["/a:rw"]}}`, 400, "invalid volume specification: '/a:rw'"},
		{`{"Image":"weft/probe","HostConfig":{"Binds":["a:/"]}}`, 400, `invalid volume specification: 'a:/': invalid mount config for type "volume": invalid specification: destination can't be '/'`},
		{`{"Image":"weft/probe","HostConfig":{"VolumesFrom":["a:nocopy"]}}`, 400, "invalid mode: nocopy"},
		{`{"Image":"weft/probe","HostConfig":{"VolumesFrom":[":ro"]}}`, 400, "volumes-from specification cannot be an empty string"},
		{`{"Image":"weft/probe","Volumes":{"a":{}}}`, 400, `invalid mount config for type "volume": invalid mount path: 'a' mount path must be absolute`},
		{`{"Image":"weft/probe","HostConfig":{"Mounts":[{"Type":"volume","Target":"/b","ReadOnly":true}]}}`, 400, `invalid mount config for type "volume": must not set ReadOnly mode when using anonymous volumes`},
		{`{"Image":"weft/probe","HostConfig":{"Mounts":[{"Type":"volume","Source":"v","Target":"/b","VolumeOptions":{"DriverConfig":{"Name":"nfs"}}}]}}`, 404, `create v: error looking up volume plugin nfs: plugin "nfs" not found`},
		{`{"Image":"weft/probe","HostConfig":{"Mounts":[{"Type":"volume","Source":"v","Target":"/b","VolumeOptions":{"Subpath":"../x"}}]}}`, 400, `invalid mount config for type "volume": subpath must be a relative path within the volume`},
		{`{"Image":"weft/probe","HostConfig":{"Mounts":[{"Type":"x","Target":"/b"}]}}`, 400, `invalid mount config for type "x": mount type unknown`},
		{`{"Image":"weft/probe","HostConfig":{"Mounts":[{"Type":"bind","Source":"a","Target":"/b"}]}}`, 400, `invalid mount config for type "bind": invalid mount path: 'a' mount path must be absolute`},
		{`{"Image":"weft/probe","HostConfig":{"Mounts":[{"Type":"npipe","Source":"/a","Target":"/b"}]}}`, 501, `this engine has no mounts of type "npipe": use bind, volume or tmpfs`},
		{`{"Image":"weft/probe","HostConfig":{"Memory":5}}`, 400, "Minimum memory limit allowed is 6MB"},
		{`{"Image":"weft/probe","HostConfig":{"Memory":8000000,"MemorySwap":7000000}}`, 400, "Minimum memoryswap limit should be larger than memory limit, see usage"},
		{`{"Image":"weft/probe","HostConfig":{"NanoCpus":1,"CpuQuota":1}}`, 400, "Conflicting options: Nano CPUs and CPU Period or Quota cannot both be set"},
		{`{"Image":"weft/probe","NetworkingConfig":{"EndpointsConfig":{"n":{"DriverOpts":{"a":"b"}}}}}`, 501, "this engine cannot connect to network n with driver options of an endpoint (--driver-opt)" + cannot},
		{`{"Image":"weft/probe","NetworkingConfig":{"EndpointsConfig":{"n":{"IPAMConfig":{"IPv6Address":"fe80::1%eth0"}}}}}`, 400, "invalid endpoint settings:\ninvalid IPv6 address: fe80::1%eth0"},
	} {
		b.refused("POST", "/containers/create", c.body, c.status, c.message)
	}
	b.refused("POST", "/v1.43/containers/create", `{"Image":"weft/probe","NetworkingConfig":{"EndpointsConfig":{"b":{},"a":{}}}}`, 400,
		"Container cannot be created with multiple network endpoints: a, b")
	b.ok("POST", "/v1.42/containers/create", `{"Image":"weft/probe","Healthcheck":{"Test":["NONE"]},"HostConfig":{"Annotations":{"a":"b"}}}`)
	b.refused("POST", "/v1.43/containers/create", `{"Image":"weft/probe","HostConfig":{"Annotations":{"a":"b"}}}`, 501,
		"this engine cannot create a container with annotations (--annotation)"+cannot)
}
