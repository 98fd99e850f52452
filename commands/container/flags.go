package container

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/spf13/pflag"

	"weft/commands/environ"
)

// configFlags are the flags of create and run from which a container's
// configuration is made.
type configFlags struct {
	set *pflag.FlagSet // tells given flags from untouched ones

	attach      opts.ListOpts
	env         opts.ListOpts
	envFiles    opts.ListOpts
	entrypoint  string
	labels      opts.ListOpts
	stdin       bool
	tty         bool
	user        string
	workdir     string
	cidFile     string
	init        bool
	restart     string
	stopSignal  string
	stopTimeout int
	autoRemove  bool
	privileged  bool
	capAdd      opts.ListOpts
	capDrop     opts.ListOpts
	sysctls     *opts.MapOpts
	hostname    string
	domainname  string
	extraHosts  opts.ListOpts
	dns         opts.ListOpts
	dnsOptions  opts.ListOpts
	dnsSearch   opts.ListOpts
	publish     opts.ListOpts
	publishAll  bool
	expose      opts.ListOpts
	network     networkFlags
}

// networkFlags are those that say how the container is attached.
type networkFlags struct {
	networks     opts.NetworkOpt
	aliases      opts.ListOpts
	links        opts.ListOpts
	linkLocalIPs opts.ListOpts
	ip           string
	ip6          string
	mac          string
}

func newConfigFlags(set *pflag.FlagSet) *configFlags {
	f := &configFlags{
		set:        set,
		attach:     opts.NewListOpts(validateAttach),
		env:        opts.NewListOpts(opts.ValidateEnv),
		envFiles:   opts.NewListOpts(nil),
		labels:     opts.NewListOpts(opts.ValidateLabel),
		capAdd:     opts.NewListOpts(nil),
		capDrop:    opts.NewListOpts(nil),
		sysctls:    opts.NewMapOpts(nil, opts.ValidateSysctl),
		extraHosts: opts.NewListOpts(opts.ValidateExtraHost),
		dns:        opts.NewListOpts(opts.ValidateIPAddress),
		dnsOptions: opts.NewListOpts(nil),
		dnsSearch:  opts.NewListOpts(opts.ValidateDNSSearch),
		publish:    opts.NewListOpts(nil),
		expose:     opts.NewListOpts(nil),
		network: networkFlags{
			aliases:      opts.NewListOpts(nil),
			links:        opts.NewListOpts(opts.ValidateLink),
			linkLocalIPs: opts.NewListOpts(nil),
		},
	}
	f.bindGeneral()
	f.bindNetwork()
	return f
}

func validateAttach(s string) (string, error) {
	switch stream := strings.ToLower(s); stream {
	case "stdin", "stdout", "stderr":
		return stream, nil
	}
	return s, errors.New("valid streams are STDIN, STDOUT and STDERR")
}

func (f *configFlags) bindGeneral() {
	set := f.set
	set.VarP(&f.attach, "attach", "a", "Attach to STDIN, STDOUT or STDERR")
	set.VarP(&f.env, "env", "e", "Set environment variables")
	set.Var(&f.envFiles, "env-file", "Read in a file of environment variables")
	set.StringVar(&f.entrypoint, "entrypoint", "", "Overwrite the default ENTRYPOINT of the image")
	set.BoolVarP(&f.stdin, "interactive", "i", false, "Keep STDIN open even if not attached")
	set.BoolVarP(&f.tty, "tty", "t", false, "Allocate a pseudo-TTY")
	set.VarP(&f.labels, "label", "l", "Set meta data on a container")
	set.StringVar(&f.restart, "restart", string(container.RestartPolicyDisabled), "Restart policy to apply when a container exits")
	set.StringVar(&f.stopSignal, "stop-signal", "", "Signal to stop the container")
	set.IntVar(&f.stopTimeout, "stop-timeout", 0, "Timeout (in seconds) to stop a container")
	set.Var(f.sysctls, "sysctl", "Sysctl options")
	set.StringVarP(&f.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	set.StringVarP(&f.workdir, "workdir", "w", "", "Working directory inside the container")
	set.BoolVar(&f.autoRemove, "rm", false, "Automatically remove the container and its associated anonymous volumes when it exits")
	set.Var(&f.capAdd, "cap-add", "Add Linux capabilities")
	set.Var(&f.capDrop, "cap-drop", "Drop Linux capabilities")
	set.BoolVar(&f.privileged, "privileged", false, "Give extended privileges to this container")
	set.StringVar(&f.cidFile, "cidfile", "", "Write the container ID to the file")
	set.BoolVar(&f.init, "init", false, "Run an init inside the container that forwards signals and reaps processes")
}

func (f *configFlags) bindNetwork() {
	set, n := f.set, &f.network
	set.StringVarP(&f.hostname, "hostname", "h", "", "Container host name")
	set.StringVar(&f.domainname, "domainname", "", "Container NIS domain name")
	set.Var(&f.extraHosts, "add-host", "Add a custom host-to-IP mapping (host:ip)")
	set.Var(&f.dns, "dns", "Set custom DNS servers")
	set.Var(&f.dnsOptions, "dns-option", "Set DNS options")
	set.Var(&f.dnsSearch, "dns-search", "Set custom DNS search domains")
	set.Var(&f.expose, "expose", "Expose a port or a range of ports")
	set.VarP(&f.publish, "publish", "p", "Publish a container's port(s) to the host")
	set.BoolVarP(&f.publishAll, "publish-all", "P", false, "Publish all exposed ports to random ports")
	set.Var(&n.networks, "network", "Connect a container to a network")
	set.Var(&n.aliases, "network-alias", "Add network-scoped alias for the container")
	set.Var(&n.links, "link", "Add link to another container")
	set.Var(&n.linkLocalIPs, "link-local-ip", "Container IPv4/IPv6 link-local addresses")
	set.StringVar(&n.ip, "ip", "", "IPv4 address (e.g., 172.30.100.104)")
	set.StringVar(&n.ip6, "ip6", "", "IPv6 address (e.g., 2001:db8::33)")
	set.StringVar(&n.mac, "mac-address", "", "Container MAC address (e.g., 92:d0:c6:0a:29:33)")

	// The names these flags had first.
	for alias, name := range map[string]string{"dns-opt": "dns-option", "net": "network", "net-alias": "network-alias"} {
		flag := set.Lookup(name)
		set.Var(flag.Value, alias, flag.Usage)
		set.Lookup(alias).Hidden = true
	}
}

// creation is what a container is created from.
type creation struct {
	config     *container.Config
	host       *container.HostConfig
	networking *network.NetworkingConfig
}

// creation makes the configuration of a container that runs args in image.
func (f *configFlags) creation(image string, args []string) (creation, error) {
	if f.network.mac != "" {
		if _, err := net.ParseMAC(strings.TrimSpace(f.network.mac)); err != nil {
			return creation{}, fmt.Errorf("%s is not a valid mac address", f.network.mac)
		}
	}
	ports, bindings, err := f.ports()
	if err != nil {
		return creation{}, err
	}
	config, err := f.config(image, args, ports)
	if err != nil {
		return creation{}, err
	}
	host, err := f.hostConfig(bindings)
	if err != nil {
		return creation{}, err
	}
	endpoints, err := f.network.endpoints()
	if err != nil {
		return creation{}, err
	}
	// Daemons before API 1.44 read the address of the first network here.
	if ep, ok := endpoints[host.NetworkMode.NetworkName()]; ok {
		config.MacAddress = ep.MacAddress //nolint:staticcheck // SA1019: for those daemons
	}
	return creation{config: config, host: host, networking: &network.NetworkingConfig{EndpointsConfig: endpoints}}, nil
}

func (f *configFlags) config(image string, args []string, ports nat.PortSet) (*container.Config, error) {
	env, err := environ.Join(f.envFiles.GetSlice(), f.env.GetSlice())
	if err != nil {
		return nil, err
	}
	c := &container.Config{
		Hostname:     f.hostname,
		Domainname:   f.domainname,
		User:         f.user,
		AttachStdin:  f.stdin || f.attach.Get("stdin"),
		AttachStdout: f.attach.Len() == 0 || f.attach.Get("stdout"),
		AttachStderr: f.attach.Len() == 0 || f.attach.Get("stderr"),
		ExposedPorts: ports,
		Tty:          f.tty,
		OpenStdin:    f.stdin,
		Env:          env,
		Cmd:          args,
		Image:        image,
		WorkingDir:   f.workdir,
		MacAddress:   f.network.mac, //nolint:staticcheck // SA1019: for daemons before API 1.44
		Labels:       opts.ConvertKVStringsToMap(f.labels.GetSlice()),
		StopSignal:   f.stopSignal,
	}
	c.StdinOnce = c.OpenStdin && c.AttachStdin
	if f.entrypoint != "" || f.set.Changed("entrypoint") { // an empty one takes the image's away
		c.Entrypoint = []string{f.entrypoint}
	}
	if f.set.Changed("stop-timeout") {
		c.StopTimeout = &f.stopTimeout
	}
	return c, nil
}

func (f *configFlags) hostConfig(bindings nat.PortMap) (*container.HostConfig, error) {
	restart, err := opts.ParseRestartPolicy(f.restart)
	if err != nil {
		return nil, err
	}
	if f.autoRemove && !restart.IsNone() {
		return nil, errors.New("conflicting options: cannot specify both --restart and --rm")
	}
	swappiness, unlimited, keepOOM := int64(-1), int64(0), false // the daemon's own defaults, as docker sends them
	h := &container.HostConfig{
		ContainerIDFile: f.cidFile,
		NetworkMode:     container.NetworkMode(f.network.networks.NetworkMode()),
		PortBindings:    bindings,
		PublishAllPorts: f.publishAll,
		RestartPolicy:   restart,
		AutoRemove:      f.autoRemove,
		CapAdd:          f.capAdd.GetSlice(),
		CapDrop:         f.capDrop.GetSlice(),
		DNS:             f.dns.GetAllOrEmpty(),
		DNSOptions:      f.dnsOptions.GetAllOrEmpty(),
		DNSSearch:       f.dnsSearch.GetAllOrEmpty(),
		ExtraHosts:      f.extraHosts.GetSlice(),
		Links:           f.network.links.GetSlice(),
		Privileged:      f.privileged,
		Sysctls:         f.sysctls.GetAll(),
		Resources: container.Resources{
			MemorySwappiness: &swappiness,
			PidsLimit:        &unlimited,
			OomKillDisable:   &keepOOM,
		},
	}
	if f.set.Changed("init") {
		h.Init = &f.init
	}
	return h, nil
}
