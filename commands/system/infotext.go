package system

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/docker/docker/api/types/registry"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/docker/go-units"
)

// infoPrinter writes `info` for people, in docker's layout to the blank:
// scripts read it.
type infoPrinter struct {
	out   io.Writer
	debug bool
	err   error
}

func (p *infoPrinter) line(args ...any) {
	if _, err := fmt.Fprintln(p.out, args...); p.err == nil {
		p.err = err
	}
}

// known writes a line unless there is nothing to say.
func (p *infoPrinter) known(label, value string) {
	if value != "" {
		p.line(label, value)
	}
}

// list writes a heading and indented entries, or nothing.
func (p *infoPrinter) list(heading, indent string, entries []string) {
	if len(entries) == 0 {
		return
	}
	p.line(heading)
	for _, e := range entries {
		p.line(indent + e)
	}
}

func (p *infoPrinter) client(r *report) {
	p.line("Client:")
	p.line(" Version:   ", r.ClientInfo.Version)
	p.line(" Context:   ", r.ClientInfo.Context)
	p.line(" Debug Mode:", r.ClientInfo.Debug)
	if r.Engine != nil {
		p.line(" Engine:    ", r.Engine)
	}
}

func (p *infoPrinter) server(i *system.Info) {
	p.line(" Containers:", i.Containers)
	p.line("  Running:", i.ContainersRunning)
	p.line("  Paused:", i.ContainersPaused)
	p.line("  Stopped:", i.ContainersStopped)
	p.line(" Images:", i.Images)
	p.known(" Server Version:", i.ServerVersion)
	p.storage(i)
	p.plugins(i)
	p.line(" Swarm:", i.Swarm.LocalNodeState)
	p.swarm(i.Swarm)
	p.runtimes(i)
	p.host(i)
	p.debugging(i)
	p.known(" HTTP Proxy:", i.HTTPProxy)
	p.known(" HTTPS Proxy:", i.HTTPSProxy)
	p.known(" No Proxy:", i.NoProxy)
	p.list(" Labels:", "  ", i.Labels)
	p.line(" Experimental:", i.ExperimentalBuild)
	p.registries(i.RegistryConfig)
	p.line(" Live Restore Enabled:", i.LiveRestoreEnabled)
	p.known(" Product License:", i.ProductLicense)
	var pools []string
	for _, pool := range i.DefaultAddressPools {
		pools = append(pools, fmt.Sprintf("Base: %s, Size: %d", pool.Base, pool.Size))
	}
	p.list(" Default Address Pools:", "   ", pools)
	p.line()
}

func (p *infoPrinter) storage(i *system.Info) {
	p.known(" Storage Driver:", i.Driver)
	for _, pair := range i.DriverStatus {
		p.line("  " + pair[0] + ": " + pair[1])
	}
	for _, pair := range i.SystemStatus {
		p.line(" " + pair[0] + ": " + pair[1])
	}
	p.known(" Logging Driver:", i.LoggingDriver)
	p.known(" Cgroup Driver:", i.CgroupDriver)
	p.known(" Cgroup Version:", i.CgroupVersion)
}

func (p *infoPrinter) plugins(i *system.Info) {
	p.line(" Plugins:")
	p.line("  Volume:", strings.Join(i.Plugins.Volume, " "))
	p.line("  Network:", strings.Join(i.Plugins.Network, " "))
	p.known("  Authorization:", strings.Join(i.Plugins.Authorization, " "))
	p.line("  Log:", strings.Join(i.Plugins.Log, " "))
	p.list(" CDI spec directories:", "  ", i.CDISpecDirs)
	var devices []string
	for _, d := range i.DiscoveredDevices {
		devices = append(devices, d.Source+": "+d.ID)
	}
	p.list(" Discovered Devices:", "  ", devices)
}

func (p *infoPrinter) swarm(s swarm.Info) {
	if s.LocalNodeState == swarm.LocalNodeStateInactive || s.LocalNodeState == swarm.LocalNodeStateLocked {
		return
	}
	p.line("  NodeID:", s.NodeID)
	p.known("  Error:", s.Error)
	p.line("  Is Manager:", s.ControlAvailable)
	if s.Cluster != nil && s.ControlAvailable && s.Error == "" && s.LocalNodeState != swarm.LocalNodeStateError {
		p.cluster(s)
	}
	p.line("  Node Address:", s.NodeAddr)
	var managers []string
	for _, m := range s.RemoteManagers {
		managers = append(managers, m.Addr)
	}
	slices.Sort(managers)
	p.list("  Manager Addresses:", "   ", managers)
}

func (p *infoPrinter) cluster(s swarm.Info) {
	c := s.Cluster
	p.line("  ClusterID:", c.ID)
	p.line("  Managers:", s.Managers)
	p.line("  Nodes:", s.Nodes)
	if c.DefaultAddrPool != nil {
		p.line("  Default Address Pool:", strings.Join(c.DefaultAddrPool, "  ")+"  ")
		p.line("  SubnetSize:", c.SubnetSize)
	}
	if c.DataPathPort > 0 {
		p.line("  Data Path Port:", c.DataPathPort)
	}
	history := int64(0)
	if c.Spec.Orchestration.TaskHistoryRetentionLimit != nil {
		history = *c.Spec.Orchestration.TaskHistoryRetentionLimit
	}
	p.line("  Orchestration:")
	p.line("   Task History Retention Limit:", history)
	p.line("  Raft:")
	p.line("   Snapshot Interval:", c.Spec.Raft.SnapshotInterval)
	if c.Spec.Raft.KeepOldSnapshots != nil {
		p.line("   Number of Old Snapshots to Retain:", *c.Spec.Raft.KeepOldSnapshots)
	}
	p.line("   Heartbeat Tick:", c.Spec.Raft.HeartbeatTick)
	p.line("   Election Tick:", c.Spec.Raft.ElectionTick)
	p.line("  Dispatcher:")
	p.line("   Heartbeat Period:", units.HumanDuration(c.Spec.Dispatcher.HeartbeatPeriod))
	p.authority(c)
}

func (p *infoPrinter) authority(c *swarm.ClusterInfo) {
	ca := c.Spec.CAConfig
	p.line("  CA Configuration:")
	p.line("   Expiry Duration:", units.HumanDuration(ca.NodeCertExpiry))
	p.line("   Force Rotate:", ca.ForceRotate)
	if cert := strings.TrimSpace(ca.SigningCACert); cert != "" {
		p.line("   Signing CA Certificate: \n" + cert + "\n")
	}
	var external []string
	for _, e := range ca.ExternalCAs {
		external = append(external, fmt.Sprintf("%s: %s", e.Protocol, e.URL))
	}
	p.list("   External CAs:", "     ", external)
	p.line("  Autolock Managers:", c.Spec.EncryptionConfig.AutoLockManagers)
	p.line("  Root Rotation In Progress:", c.RootRotationInProgress)
}

func (p *infoPrinter) runtimes(i *system.Info) {
	if len(i.Runtimes) > 0 {
		p.line(" Runtimes:", strings.Join(slices.Sorted(maps.Keys(i.Runtimes)), " "))
		p.line(" Default Runtime:", i.DefaultRuntime)
	}
	if i.OSType == "windows" {
		p.line(" Default Isolation:", i.Isolation)
	}
	if i.OSType != "linux" {
		return
	}
	p.line(" Init Binary:", i.InitBinary)
	p.line(" containerd version:", i.ContainerdCommit.ID)
	p.line(" runc version:", i.RuncCommit.ID)
	p.line(" init version:", i.InitCommit.ID)
	p.security(i.SecurityOptions)
}

func (p *infoPrinter) security(encoded []string) {
	if len(encoded) == 0 {
		return
	}
	options, err := system.DecodeSecurityOptions(encoded)
	if err != nil {
		p.list(" Security Options:", "  ", encoded)
		return
	}
	p.line(" Security Options:")
	for _, o := range options {
		p.line("  " + o.Name)
		for _, kv := range o.Options {
			if kv.Key == "profile" {
				p.line("   Profile:", kv.Value)
			}
		}
	}
}

func (p *infoPrinter) host(i *system.Info) {
	p.known(" Kernel Version:", i.KernelVersion)
	p.known(" Operating System:", i.OperatingSystem)
	p.known(" OSType:", i.OSType)
	p.known(" Architecture:", i.Architecture)
	p.line(" CPUs:", i.NCPU)
	p.line(" Total Memory:", units.BytesSize(float64(i.MemTotal)))
	p.known(" Name:", i.Name)
	p.known(" ID:", i.ID)
	p.line(" Docker Root Dir:", i.DockerRootDir)
}

// debugging is shown if either side debugs.
func (p *infoPrinter) debugging(i *system.Info) {
	p.line(" Debug Mode:", i.Debug)
	if !i.Debug && !p.debug {
		return
	}
	p.line("  File Descriptors:", i.NFd)
	p.line("  Goroutines:", i.NGoroutines)
	p.line("  System Time:", i.SystemTime)
	p.line("  EventsListeners:", i.NEventsListener)
}

func (p *infoPrinter) registries(c *registry.ServiceConfig) {
	if c == nil {
		return
	}
	if len(c.InsecureRegistryCIDRs)+len(c.IndexConfigs) > 0 {
		p.line(" Insecure Registries:")
		for _, name := range slices.Sorted(maps.Keys(c.IndexConfigs)) {
			if !c.IndexConfigs[name].Secure {
				p.line("  " + c.IndexConfigs[name].Name)
			}
		}
		for _, cidr := range c.InsecureRegistryCIDRs {
			p.line("  " + cidr.String())
		}
	}
	p.list(" Registry Mirrors:", "  ", c.Mirrors)
}
