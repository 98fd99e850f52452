package container

import (
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
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
	labelFiles  opts.ListOpts
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
	mounts      mountFlags
	resources   resourceFlags
	devices     deviceFlags
	isolation   isolationFlags
	health      healthFlags
	logging     loggingFlags
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
		labelFiles: opts.NewListOpts(nil),
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
		mounts:    newMountFlags(),
		resources: newResourceFlags(),
		devices:   newDeviceFlags(),
		isolation: newIsolationFlags(),
		logging:   newLoggingFlags(),
	}
	f.bindGeneral()
	f.bindNetwork()
	for _, part := range []interface{ bind(set *pflag.FlagSet) }{
		&f.mounts, &f.resources, &f.devices, &f.isolation, &f.health, &f.logging,
	} {
		part.bind(set)
	}
	cmdenv.Since(set, "1.25", "stop-timeout", "init", "cpus", "cpu-rt-period", "cpu-rt-runtime")
	cmdenv.Since(set, "1.29", "health-start-period")
	cmdenv.Since(set, "1.40", "gpus")
	cmdenv.Since(set, "1.41", "cgroupns")
	cmdenv.Since(set, "1.43", "annotation")
	cmdenv.Since(set, "1.44", "health-start-interval")
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
	set.Var(&f.labelFiles, "label-file", "Read in a line delimited file of labels")
	set.StringVar(&f.restart, "restart", string(container.RestartPolicyDisabled), "Restart policy to apply when a container exits")
	set.StringVar(&f.stopSignal, "stop-signal", "", "Signal to stop the container")
	set.IntVar(&f.stopTimeout, "stop-timeout", 0, "Timeout (in seconds) to stop a container")
	set.StringVarP(&f.user, "user", "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	set.StringVarP(&f.workdir, "workdir", "w", "", "Working directory inside the container")
	set.BoolVar(&f.autoRemove, "rm", false, "Automatically remove the container and its associated anonymous volumes when it exits")
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

// creation makes the configuration of a container that runs args in image. Of
// several mistakes the first in docker's order is told.
func (f *configFlags) creation(image string, args []string) (creation, error) {
	if f.network.mac != "" {
		if _, err := net.ParseMAC(strings.TrimSpace(f.network.mac)); err != nil {
			return creation{}, fmt.Errorf("%s is not a valid mac address", f.network.mac)
		}
	}
	c := creation{config: f.config(image, args), host: f.hostConfig()}
	for _, step := range []func(*creation) error{
		func(*creation) error { return f.resources.check() },
		func(c *creation) error { return f.mounts.apply(c.config, c.host) },
		f.addPorts,
		func(c *creation) error { return f.devices.apply(&c.host.Resources) },
		f.addFiles,
		func(c *creation) error { return f.isolation.apply(c.host) },
		f.addPolicies,
		f.addNetworks,
	} {
		if err := step(&c); err != nil {
			return creation{}, err
		}
	}
	return c, nil
}

// config gives what needs no judgment of the container itself.
func (f *configFlags) config(image string, args []string) *container.Config {
	c := &container.Config{
		Hostname:     f.hostname,
		Domainname:   f.domainname,
		User:         f.user,
		AttachStdin:  f.stdin || f.attach.Get("stdin"),
		AttachStdout: f.attach.Len() == 0 || f.attach.Get("stdout"),
		AttachStderr: f.attach.Len() == 0 || f.attach.Get("stderr"),
		Tty:          f.tty,
		OpenStdin:    f.stdin,
		Image:        image,
		WorkingDir:   f.workdir,
		MacAddress:   f.network.mac, //nolint:staticcheck // SA1019: for daemons before API 1.44
		StopSignal:   f.stopSignal,
	}
	if len(args) > 0 {
		c.Cmd = args
	}
	c.StdinOnce = c.OpenStdin && c.AttachStdin
	if f.entrypoint != "" || f.set.Changed("entrypoint") { // an empty one takes the image's away
		c.Entrypoint = []string{f.entrypoint}
	}
	if f.set.Changed("stop-timeout") {
		c.StopTimeout = &f.stopTimeout
	}
	return c
}

// hostConfig gives what needs no judgment of how the host runs it.
func (f *configFlags) hostConfig() *container.HostConfig {
	h := &container.HostConfig{
		ContainerIDFile: f.cidFile,
		NetworkMode:     container.NetworkMode(f.network.networks.NetworkMode()),
		PublishAllPorts: f.publishAll,
		AutoRemove:      f.autoRemove,
		DNS:             f.dns.GetAllOrEmpty(),
		DNSOptions:      f.dnsOptions.GetAllOrEmpty(),
		DNSSearch:       f.dnsSearch.GetAllOrEmpty(),
		ExtraHosts:      f.extraHosts.GetSlice(),
		Links:           f.network.links.GetSlice(),
		OomScoreAdj:     f.resources.oomScoreAdj,
		Resources:       f.resources.resources(),
	}
	if f.set.Changed("init") {
		h.Init = &f.init
	}
	return h
}

func (f *configFlags) addPorts(c *creation) (err error) {
	c.config.ExposedPorts, c.host.PortBindings, err = f.ports()
	return err
}

// addFiles adds what can stand in files: variables and labels.
func (f *configFlags) addFiles(c *creation) error {
	env, err := environ.Join(f.envFiles.GetSlice(), f.env.GetSlice())
	if err != nil {
		return err
	}
	if len(env) > 0 {
		c.config.Env = env
	}
	labels, err := opts.ReadKVStrings(f.labelFiles.GetSlice(), f.labels.GetSlice())
	if err != nil {
		return err
	}
	c.config.Labels = opts.ConvertKVStringsToMap(labels)
	return nil
}

// addPolicies adds how the container is restarted, logged, confined and
// watched.
func (f *configFlags) addPolicies(c *creation) (err error) {
	if c.host.RestartPolicy, err = opts.ParseRestartPolicy(f.restart); err != nil {
		return err
	}
	if c.host.LogConfig, err = f.logging.config(); err != nil {
		return err
	}
	if err = applySecurity(f.isolation.security.GetSlice(), c.host); err != nil {
		return err
	}
	if c.config.Healthcheck, err = f.health.config(); err != nil {
		return err
	}
	if f.autoRemove && !c.host.RestartPolicy.IsNone() {
		return errors.New("conflicting options: cannot specify both --restart and --rm")
	}
	return nil
}

func (f *configFlags) addNetworks(c *creation) error {
	endpoints, err := f.network.endpoints()
	if err != nil {
		return err
	}
	// Daemons before API 1.44 read the address of the first network here.
	if ep, ok := endpoints[c.host.NetworkMode.NetworkName()]; ok {
		c.config.MacAddress = ep.MacAddress //nolint:staticcheck // SA1019: for those daemons
	}
	c.networking = &network.NetworkingConfig{EndpointsConfig: endpoints}
	return nil
}
