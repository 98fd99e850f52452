package service

import (
	"context"
	"errors"
	"sort"
	"strings"
	"time"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"

	"weft/commands/environ"
)

// NetworkInspector looks networks up by name or ID.
type NetworkInspector interface {
	NetworkInspect(ctx context.Context, networkID string, options network.InspectOptions) (network.Inspect, error)
}

// spec builds the specification of a new service. The references to secrets
// and configs, which need the daemon, are added by the caller.
func (o *createOptions) spec(ctx context.Context, networks NetworkInspector) (swarm.ServiceSpec, error) {
	f := o.flags
	cont, err := o.containerSpec()
	if err != nil {
		return swarm.ServiceSpec{}, err
	}
	mode, err := o.serviceMode()
	if err != nil {
		return swarm.ServiceSpec{}, err
	}
	update, rollback := f.updateConfig(), f.rollbackConfig()
	if (mode.ReplicatedJob != nil || mode.GlobalJob != nil) && (update != nil || rollback != nil) {
		return swarm.ServiceSpec{}, errors.New("update and rollback configuration is not supported for jobs")
	}
	attachments, err := attachmentsOf(ctx, networks, f.networks.Value())
	if err != nil {
		return swarm.ServiceSpec{}, err
	}
	resources, err := f.resources.requirements()
	if err != nil {
		return swarm.ServiceSpec{}, err
	}
	return swarm.ServiceSpec{
		Annotations: swarm.Annotations{Name: o.name, Labels: opts.ConvertKVStringsToMap(f.labels.GetSlice())},
		TaskTemplate: swarm.TaskSpec{
			ContainerSpec: cont,
			Networks:      attachments,
			Resources:     resources,
			RestartPolicy: f.restartPolicy(),
			Placement: &swarm.Placement{
				Constraints: f.placement.constraints.GetSlice(),
				Preferences: f.placement.preferences.list,
				MaxReplicas: f.placement.maxReplicas,
			},
			LogDriver: f.taskLogDriver(),
		},
		Mode:           mode,
		UpdateConfig:   update,
		RollbackConfig: rollback,
		EndpointSpec: &swarm.EndpointSpec{
			Mode:  swarm.ResolutionMode(strings.ToLower(f.endpointMode)),
			Ports: f.ports.Value(),
		},
	}, nil
}

func (o *createOptions) containerSpec() (*swarm.ContainerSpec, error) {
	c := &o.flags.container
	env, err := environ.Join(o.envFiles.GetSlice(), c.env.GetSlice())
	if err != nil {
		return nil, err
	}
	health, err := o.flags.health.config()
	if err != nil {
		return nil, err
	}
	capAdd, capDrop := opts.EffectiveCapAddCapDrop(c.capAdd.GetSlice(), c.capDrop.GetSlice())
	spec := &swarm.ContainerSpec{
		Image:      o.image,
		Labels:     opts.ConvertKVStringsToMap(c.labels.GetSlice()),
		Command:    c.entrypoint,
		Args:       o.args,
		Hostname:   c.hostname,
		Env:        env,
		Dir:        c.workdir,
		User:       c.user,
		Groups:     c.groups.GetSlice(),
		StopSignal: c.stopSignal,
		TTY:        c.tty,
		ReadOnly:   c.readOnly,
		Mounts:     c.mounts.Value(),
		Init:       &c.init,
		DNSConfig: &swarm.DNSConfig{
			Nameservers: c.dns.GetSlice(),
			Search:      c.dnsSearch.GetSlice(),
			Options:     c.dnsOptions.GetSlice(),
		},
		Hosts:           hostEntries(c.hosts.GetSlice()),
		StopGracePeriod: c.stopGrace.Value(),
		Healthcheck:     health,
		Isolation:       container.Isolation(c.isolation),
		Sysctls:         opts.ConvertKVStringsToMap(c.sysctls.GetSlice()),
		CapabilityAdd:   capAdd,
		CapabilityDrop:  capDrop,
		Ulimits:         c.ulimits.GetList(),
		OomScoreAdj:     c.oomScoreAdj,
	}
	if c.credential.source != "" {
		spec.Privileges = &swarm.Privileges{CredentialSpec: c.credential.spec}
	}
	return spec, nil
}

// hostEntries turns HOST:IP into the form of a hosts file, which is the API's.
func hostEntries(hosts []string) []string {
	out := make([]string, 0, len(hosts))
	for _, h := range hosts {
		if name, ip, ok := strings.Cut(h, ":"); ok {
			out = append(out, ip+" "+name)
		}
	}
	return out
}

// attachmentsOf resolves the networks' names and orders the attachments by
// network ID, so that equal flags make equal specifications.
func attachmentsOf(ctx context.Context, networks NetworkInspector, flags []opts.NetworkAttachmentOpts) ([]swarm.NetworkAttachmentConfig, error) {
	out := make([]swarm.NetworkAttachmentConfig, 0, len(flags))
	for _, n := range flags {
		id, err := networkID(ctx, networks, n.Target)
		if err != nil {
			return nil, err
		}
		out = append(out, swarm.NetworkAttachmentConfig{Target: id, Aliases: n.Aliases, DriverOpts: n.DriverOpts})
	}
	sortAttachments(out)
	return out, nil
}

func networkID(ctx context.Context, networks NetworkInspector, name string) (string, error) {
	n, err := networks.NetworkInspect(ctx, name, network.InspectOptions{Scope: "swarm"})
	if err != nil {
		return "", err
	}
	return n.ID, nil
}

func sortAttachments(list []swarm.NetworkAttachmentConfig) {
	sort.SliceStable(list, func(i, j int) bool { return list[i].Target < list[j].Target })
}

func (r *resourceFlags) requirements() (*swarm.ResourceRequirements, error) {
	generic, err := parseGenericResources(r.generic.GetSlice())
	if err != nil {
		return nil, err
	}
	return &swarm.ResourceRequirements{
		Limits: &swarm.Limit{
			NanoCPUs:    r.limitCPU.Value(),
			MemoryBytes: r.limitMemory.Value(),
			Pids:        r.limitPids,
		},
		Reservations: &swarm.Resources{
			NanoCPUs:         r.reserveCPU.Value(),
			MemoryBytes:      r.reserveMemory.Value(),
			GenericResources: generic,
		},
	}, nil
}

// config is nil when nothing about health was said.
func (h *healthFlags) config() (*container.HealthConfig, error) {
	cfg := container.HealthConfig{
		Interval:      orZero(h.interval.Value()),
		Timeout:       orZero(h.timeout.Value()),
		StartPeriod:   orZero(h.startPeriod.Value()),
		StartInterval: orZero(h.startInterval.Value()),
		Retries:       h.retries,
	}
	given := h.cmd != "" || h.retries != 0
	for _, d := range []*time.Duration{h.interval.Value(), h.timeout.Value(), h.startPeriod.Value(), h.startInterval.Value()} {
		given = given || d != nil
	}
	switch {
	case h.disabled && given:
		return nil, errNoHealthcheckConflict
	case h.disabled:
		return &container.HealthConfig{Test: []string{"NONE"}}, nil
	case !given:
		return nil, nil
	}
	if h.cmd != "" {
		cfg.Test = []string{"CMD-SHELL", h.cmd}
	}
	return &cfg, nil
}

var errNoHealthcheckConflict = errors.New("--no-healthcheck conflicts with --health-* options")

func orZero(d *time.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return *d
}

func (f *specFlags) taskLogDriver() *swarm.Driver {
	if f.logDriver == "" {
		return nil
	}
	return &swarm.Driver{Name: f.logDriver, Options: opts.ConvertKVStringsToMap(f.logOpts.GetSlice())}
}

// restartPolicy is nil, the daemon's default, unless a flag was given.
func (f *specFlags) restartPolicy() *swarm.RestartPolicy {
	if !f.changed(restartFlagNames...) {
		return nil
	}
	p := defaultRestartPolicy()
	f.applyRestart(p)
	return p
}

func (f *specFlags) updateConfig() *swarm.UpdateConfig {
	if !f.changed(updateFlagNames.all()...) {
		return nil
	}
	cfg := defaultUpdateConfig()
	f.update.apply(f, updateFlagNames, cfg)
	return cfg
}

func (f *specFlags) rollbackConfig() *swarm.UpdateConfig {
	if !f.changed(rollbackFlagNames.all()...) {
		return nil
	}
	cfg := defaultUpdateConfig()
	f.rollback.apply(f, rollbackFlagNames, cfg)
	return cfg
}
