package dockerapi

import (
	"slices"
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"

	"weft/engine/fault"
	"weft/engine/model"
)

// demand is something a request may ask for that the engine does not do.
type demand struct {
	asked bool
	what  string // as a user of the command line knows it
}

// refuse names everything asked for that the engine does not do, rather than
// the first of it. doing completes "this engine cannot".
func refuse(doing string, demands []demand) error {
	var blockers []string
	for _, d := range demands {
		if d.asked {
			blockers = append(blockers, d.what)
		}
	}
	if len(blockers) == 0 {
		return nil
	}
	return fault.Unsupported("this engine cannot %s with %s; leave out what is named here, or use a Docker engine",
		doing, strings.Join(blockers, "; "))
}

// checkSupported refuses what would make a container behave differently if it
// were ignored. What clients always send, and the defaults, pass.
func checkSupported(r *request, c *container.Config, host *container.HostConfig) error {
	if err := checkMode(c, host); err != nil {
		return err
	}
	return refuse("create a container", slices.Concat(configDemands(c), hostDemands(r, host), resourceDemands(host.Resources)))
}

// checkMode looks at whose namespaces a container is to have.
func checkMode(c *container.Config, host *container.HostConfig) error {
	if host.NetworkMode.IsContainer() && host.NetworkMode.ConnectedContainer() == "" {
		return fault.Invalid("invalid network mode: invalid container format container:<name|id>")
	}
	if err := checkSharedNetwork(c, host); err != nil {
		return err
	}
	if host.UTSMode.IsHost() && c.Hostname != "" {
		return fault.Invalid("conflicting options: hostname and the UTS mode")
	}
	if host.AutoRemove && !host.RestartPolicy.IsNone() {
		return fault.Invalid("can't create 'AutoRemove' container with restart policy")
	}
	return container.ValidateRestartPolicy(host.RestartPolicy)
}

// checkSharedNetwork refuses what a container can't have in a network
// namespace it shares (runconfig/hostconfig_unix.go, validateNetMode).
func checkSharedNetwork(c *container.Config, h *container.HostConfig) error {
	joins := h.NetworkMode.IsContainer()
	for _, conflict := range []demand{
		{joins && c.Hostname != "", "hostname and the network mode"},
		{joins && len(h.Links) > 0, "container type network can't be used with links. This would result in undefined behavior"},
		{h.NetworkMode.IsHost() && len(h.Links) > 0, "host type networking can't be used with links. This would result in undefined behavior"},
		{joins && len(h.DNS) > 0, "dns and the network mode"},
		{joins && len(h.ExtraHosts) > 0, "custom host-to-IP mapping and the network mode"},
		{joins && (len(h.PortBindings) > 0 || h.PublishAllPorts), "port publishing and the container type network mode"},
		{joins && len(c.ExposedPorts) > 0, "port exposing and the container type network mode"},
	} {
		if conflict.asked {
			return fault.Invalid("conflicting options: %s", conflict.what)
		}
	}
	return nil
}

func configDemands(c *container.Config) []demand {
	return []demand{
		{c.MacAddress != "", "a MAC address (--mac-address): it follows from the IPv4 address"}, //nolint:staticcheck // API < 1.44
		{c.NetworkDisabled, "NetworkDisabled: use --network none"},
		{len(c.OnBuild) > 0 || len(c.Shell) > 0, "OnBuild or Shell"},
	}
}

func hostDemands(r *request, h *container.HostConfig) []demand {
	logging := h.LogConfig.Type != "" && h.LogConfig.Type != "json-file"
	annotations := len(h.Annotations) > 0 && !r.before("1.43")
	return []demand{
		{h.VolumeDriver != "" && h.VolumeDriver != model.VolumeDriver, "a volume driver (--volume-driver)"},
		{len(h.StorageOpt) > 0, "storage options (--storage-opt)"},
		{len(h.Links) > 0, "links (--link): containers of one network find each other by name"},
		{logging || len(h.LogConfig.Config) > 0, "a log driver or its options (--log-driver, --log-opt)"},
		{h.Privileged, "privileges (--privileged)"},
		{h.MaskedPaths != nil || h.ReadonlyPaths != nil, "paths of its own to hide or protect (--security-opt systempaths)"},
		{h.PidMode != "" && h.PidMode != "private", "a shared PID namespace (--pid)"},
		{h.IpcMode.IsHost() || h.IpcMode.IsContainer(), "a shared IPC namespace (--ipc)"},
		{h.UTSMode != "", "a shared UTS namespace (--uts)"},
		{h.UsernsMode != "", "a user namespace mode (--userns)"},
		{h.CgroupnsMode.IsHost(), "the host's cgroup namespace (--cgroupns)"},
		{h.Cgroup != "", "another container's cgroup"},
		{h.Init != nil && *h.Init, "an init process (--init)"},
		{!h.Isolation.IsDefault(), "an isolation (--isolation)"},
		{annotations, "annotations (--annotation)"},
	}
}

func resourceDemands(res container.Resources) []demand {
	realtime := res.CPURealtimePeriod != 0 || res.CPURealtimeRuntime != 0 || res.CPUCount != 0 || res.CPUPercent != 0
	swappiness := res.MemorySwappiness != nil && *res.MemorySwappiness != -1 // what docker 20.10 sends for none
	kernelMemory := res.KernelMemory != 0 || res.KernelMemoryTCP != 0        //nolint:staticcheck // deprecated, and refused all the same
	blkio := res.BlkioWeight != 0 || res.IOMaximumIOps != 0 || res.IOMaximumBandwidth != 0 ||
		len(res.BlkioWeightDevice)+len(res.BlkioDeviceReadBps)+len(res.BlkioDeviceWriteBps)+
			len(res.BlkioDeviceReadIOps)+len(res.BlkioDeviceWriteIOps) > 0
	return []demand{
		{realtime, "real-time CPU limits (--cpu-rt-period, --cpu-rt-runtime)"},
		{swappiness || kernelMemory, "swappiness or kernel memory limits (--memory-swappiness, --kernel-memory)"},
		{blkio, "block I/O limits (--blkio-weight, --device-read-bps, …)"},
		{len(res.Devices)+len(res.DeviceCgroupRules)+len(res.DeviceRequests) > 0, "devices (--device, --gpus, …)"},
		{res.CgroupParent != "", "a cgroup parent (--cgroup-parent)"},
	}
}

// checkEndpoint refuses what an endpoint can't have.
func checkEndpoint(name string, ep *network.EndpointSettings) error {
	if ep == nil {
		return nil
	}
	err := refuse("connect to network "+name, []demand{
		{len(ep.Links) > 0, "links (--link): containers of one network find each other by name"},
		{ep.MacAddress != "", "a MAC address (--mac-address): it follows from the IPv4 address"},
		{len(ep.DriverOpts) > 0, "driver options of an endpoint (--driver-opt)"},
		{ep.IPAMConfig != nil && len(ep.IPAMConfig.LinkLocalIPs) > 0, "link-local addresses (--link-local-ip)"},
	})
	if err != nil || ep.IPAMConfig == nil {
		return err
	}
	_, err = networkRequest(name, ep)
	return err
}
