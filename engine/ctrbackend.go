package engine

import (
	"context"
	"strings"
	"time"

	"weft/engine/dockerapi"
	"weft/engine/fault"
	"weft/engine/localnet"
	"weft/engine/model"
	"weft/engine/runtime"
	"weft/engine/workload"
)

// containerBackend answers dockerapi.Containers: the life cycle from workload,
// the streams from the runtime.
type containerBackend struct{ e *Engine }

func (b containerBackend) Create(ctx context.Context, spec model.ContainerSpec) (string, []string, error) {
	if err := b.checkNetworks(ctx, &spec); err != nil {
		return "", nil, err
	}
	for _, a := range b.e.attachments.List() {
		if a.Name == spec.Name {
			return "", nil, fault.Conflict("Conflict. The container name %q is already in use by an attachment to network %s. Detach that (weft detach), or use another name.", "/"+spec.Name, a.Network)
		}
	}
	id, err := b.e.workload.Create(ctx, spec)
	return id, nil, err
}

// checkNetworks fits a new container's ways to the network to what is there.
func (b containerBackend) checkNetworks(ctx context.Context, spec *model.ContainerSpec) error {
	if name, joins := strings.CutPrefix(spec.NetworkMode, model.ModeContainer); joins {
		other, err := b.e.workload.Container(ctx, name)
		if err != nil {
			return fault.Invalid("joining network namespace of container: %w", err)
		}
		spec.NetworkMode = model.ModeContainer + other.ID
	}
	for _, r := range spec.Networks {
		if err := allocator(b).Check(ctx, r); err != nil {
			return fault.Invalid("invalid config for network %s: %w", r.Network, err)
		}
		nw, local := b.e.local.Find(r.Network)
		if private := nw.Name == localnet.Host || nw.Name == localnet.None; local && private {
			return fault.Invalid("conflicting options: cannot attach both user-defined and non-user-defined network-modes")
		}
	}
	return nil
}

func (b containerBackend) Container(ctx context.Context, name string) (model.Container, error) {
	return b.e.workload.Container(ctx, name)
}

func (b containerBackend) Containers(ctx context.Context) ([]model.Container, error) {
	return b.e.workload.Containers(ctx)
}

func (b containerBackend) Start(ctx context.Context, name string) error {
	return b.e.workload.Start(ctx, name)
}

func (b containerBackend) Stop(ctx context.Context, name, signal string, grace *time.Duration) (bool, error) {
	return b.e.workload.Stop(ctx, name, signal, grace)
}

func (b containerBackend) Kill(ctx context.Context, name, signal string) error {
	return b.e.workload.Kill(ctx, name, signal)
}

func (b containerBackend) Remove(ctx context.Context, name string, force, volumes bool) error {
	c, err := b.e.workload.Container(ctx, name)
	if err != nil {
		return err
	}
	if err := b.e.workload.Remove(ctx, c.ID, force, volumes); err != nil {
		return err
	}
	b.e.execs.drop(c.ID)
	return nil
}

func (b containerBackend) Rename(ctx context.Context, name, newName string) error {
	return b.e.workload.Rename(ctx, name, newName)
}

func (b containerBackend) Wait(ctx context.Context, name string, cond dockerapi.WaitCondition, registered func()) (model.ExitStatus, error) {
	c := workload.NotRunning
	switch cond {
	case dockerapi.WaitNotRunning:
	case dockerapi.WaitNextExit:
		c = workload.NextExit
	case dockerapi.WaitRemoved:
		c = workload.Removed
	}
	return b.e.workload.Wait(ctx, name, c, registered)
}

func (b containerBackend) Attach(ctx context.Context, name string, o dockerapi.AttachOptions, attached func() error) error {
	c, err := b.e.workload.Container(ctx, name)
	if err != nil {
		return err
	}
	if !o.Stream {
		if err := attached(); err != nil || !o.Logs {
			return err
		}
		return b.e.runtime.Logs(ctx, c.ID, runtime.LogOptions{Tail: -1}, o.Stdout, o.Stderr)
	}
	return b.e.runtime.Attach(ctx, c.ID, runtime.AttachOptions{
		Stdin: o.Stdin, Stdout: o.Stdout, Stderr: o.Stderr, Logs: o.Logs, Attached: attached,
	})
}

func (b containerBackend) Logs(ctx context.Context, name string, o dockerapi.LogOptions) error {
	c, err := b.e.workload.Container(ctx, name)
	if err != nil {
		return err
	}
	return b.e.runtime.Logs(ctx, c.ID, runtime.LogOptions{
		Follow: o.Follow, Since: o.Since, Until: o.Until, Tail: o.Tail, Timestamps: o.Timestamps,
	}, o.Stdout, o.Stderr)
}
