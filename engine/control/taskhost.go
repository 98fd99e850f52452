package control

import (
	"net/netip"
	"strings"
	"time"

	gogotypes "github.com/gogo/protobuf/types"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/fault"
	"weft/engine/model"
)

// boundProcess gives a task's process what bounds it: identity, capabilities
// and resources.
func boundProcess(p *model.ProcessSpec, ctr *api.ContainerSpec, t *api.Task) {
	p.Groups, p.ReadOnlyRoot, p.Sysctls = ctr.Groups, ctr.ReadOnly, ctr.Sysctls
	p.CapAdd, p.CapDrop = ctr.CapabilityAdd, ctr.CapabilityDrop
	p.OOMScoreAdj, p.Resources.PidsLimit = int(ctr.OomScoreAdj), ctr.PidsLimit
	for _, u := range ctr.Ulimits {
		p.Ulimits = append(p.Ulimits, model.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard})
	}
	if s := ctr.Privileges; s != nil {
		p.NoNewPrivileges = s.NoNewPrivileges
		p.AllSyscalls = s.Seccomp != nil && s.Seccomp.Mode == api.Privileges_SeccompOpts_UNCONFINED
	}
	if r := t.Spec.Resources; r != nil {
		if r.Limits != nil {
			p.Resources.NanoCPUs, p.Resources.Memory = r.Limits.NanoCPUs, r.Limits.MemoryBytes
		}
		if r.Reservations != nil {
			p.Resources.MemoryReservation = r.Reservations.MemoryBytes
		}
	}
}

// customProfile reports whether a task brings a system call filter of its own.
func customProfile(p *api.Privileges) bool {
	return p != nil && p.Seccomp != nil && p.Seccomp.Mode == api.Privileges_SeccompOpts_CUSTOM
}

// taskNaming reads what the task's resolver is told. The swarm's host entries
// are lines of hosts(5), Docker's containers' are NAME:ADDRESS.
func taskNaming(ctr *api.ContainerSpec) (model.Naming, error) {
	var out model.Naming
	if d := ctr.DNSConfig; d != nil {
		out.Search, out.Options = d.Search, d.Options
		for _, text := range d.Nameservers {
			a, err := netip.ParseAddr(text)
			if err != nil {
				return out, fault.Invalid("invalid DNS server: %q is not an IP address", text)
			}
			out.Servers = append(out.Servers, a)
		}
	}
	for _, line := range ctr.Hosts {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			return out, fault.Invalid("invalid host entry %q: must be an address and names", line)
		}
		for _, name := range fields[1:] {
			out.ExtraHosts = append(out.ExtraHosts, name+":"+fields[0])
		}
	}
	return out, nil
}

// taskHealth reads a task's own check: nil for none, so that the image's
// counts, and Shell without Args where that is to be left out.
func taskHealth(c *api.HealthConfig) *model.HealthCheck {
	if c == nil {
		return nil
	}
	h := &model.HealthCheck{
		Interval: span(c.Interval), Timeout: span(c.Timeout), StartPeriod: span(c.StartPeriod),
		StartInterval: span(c.StartInterval), Retries: int(c.Retries),
	}
	if len(c.Test) == 0 {
		return h
	}
	switch c.Test[0] {
	case "NONE":
		return &model.HealthCheck{Shell: true}
	case "CMD-SHELL":
		h.Shell = true
	}
	h.Args = c.Test[1:]
	return h
}

// span converts a duration; one out of range, which SwarmKit lets nobody give,
// is 0.
func span(d *gogotypes.Duration) time.Duration {
	if d == nil {
		return 0
	}
	v, err := gogotypes.DurationFromProto(d)
	if err != nil {
		return 0
	}
	return v
}
