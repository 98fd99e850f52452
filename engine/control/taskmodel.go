package control

import (
	"net/netip"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/swarmkit/v2/api"
	"github.com/moby/swarmkit/v2/api/genericresource"
	"github.com/moby/swarmkit/v2/api/naming"
	"github.com/moby/swarmkit/v2/template"

	"weft/engine/fault"
	"weft/engine/model"
)

// taskModel converts a task, its templates expanded for this node. A task this
// engine can't run as it is specified fails with the reason.
func taskModel(t *api.Task, node *api.NodeDescription) (model.Task, error) {
	if err := runnable(t); err != nil {
		return model.Task{}, err
	}
	ctr, err := template.ExpandContainerSpec(node, t)
	if err != nil {
		return model.Task{}, fault.Invalid("%w", err)
	}
	names, err := taskNaming(ctr)
	if err != nil {
		return model.Task{}, err
	}
	mounts, err := taskMounts(ctr.Mounts)
	if err != nil {
		return model.Task{}, err
	}
	out := model.Task{ID: t.ID, Spec: model.ContainerSpec{
		Name:    naming.Task(t),
		Process: processModel(ctr, t),
		Labels:  taskLabels(ctr, t),
		Naming:  names,
		Health:  taskHealth(ctr.Healthcheck),
		Service: &model.ServiceTask{
			TaskID: t.ID, ServiceID: t.ServiceID, ServiceName: t.ServiceAnnotations.Name,
			NodeID: t.NodeID, Slot: t.Slot,
		},
	}}
	out.Spec.Process.Mounts = mounts
	mesh, err := meshModel(t.ServiceAnnotations.Labels)
	if err != nil {
		return model.Task{}, err
	}
	out.Spec.Ports = hostPorts(t.Endpoint, mesh.Bind)
	for _, na := range t.Networks {
		a := attachmentModel(na)
		a.VIP, a.Mesh = virtualIP(t.Endpoint, na.Network.ID), mesh
		if a.Network.Ingress {
			a.Ingress = ingressPorts(t.Endpoint)
		}
		out.Attachments = append(out.Attachments, a)
		out.Spec.Networks = append(out.Spec.Networks, requestOf(a))
	}
	return out, nil
}

func requestOf(a model.Attachment) model.NetworkRequest {
	r := model.NetworkRequest{Network: a.Network.ID, Aliases: a.Aliases}
	for _, p := range a.Addrs {
		if p.Addr().Is4() {
			r.Addr = p.Addr()
		} else {
			r.AddrV6 = p.Addr()
		}
	}
	return r
}

// ingressPorts gives the ports every host answers at.
func ingressPorts(e *api.Endpoint) []model.IngressPort {
	var out []model.IngressPort
	for _, p := range publishedPorts(e) {
		if p.PublishMode == api.PublishModeIngress && p.PublishedPort != 0 {
			out = append(out, model.IngressPort{
				Name: p.Name, Proto: protocol(p), Target: uint16(p.TargetPort), Published: uint16(p.PublishedPort), //nolint:gosec // ports
			})
		}
	}
	return out
}

// hostPorts gives the ports the task's own host answers at.
func hostPorts(e *api.Endpoint, bind []string) []model.PortBinding {
	var out []model.PortBinding
	for _, p := range publishedPorts(e) {
		if p.PublishMode == api.PublishModeHost {
			port := uint16(p.PublishedPort) //nolint:gosec // a port
			out = append(out, model.PortBinding{
				Port:     model.Port{Proto: protocol(p), Port: uint16(p.TargetPort)}, //nolint:gosec // a port
				HostPort: port, HostPortEnd: port, Bind: bind,
			})
		}
	}
	return out
}

func publishedPorts(e *api.Endpoint) []*api.PortConfig {
	if e == nil {
		return nil
	}
	return e.Ports
}

func protocol(p *api.PortConfig) string { return strings.ToLower(p.Protocol.String()) }

func virtualIP(e *api.Endpoint, networkID string) netip.Addr {
	if e == nil {
		return netip.Addr{}
	}
	for _, v := range e.VirtualIPs {
		if v.NetworkID == networkID {
			p, err := netip.ParsePrefix(v.Addr)
			if err == nil {
				return p.Addr()
			}
		}
	}
	return netip.Addr{}
}

// processModel follows dockerd: Command takes the place of the image's
// entrypoint, Args of its command.
func processModel(ctr *api.ContainerSpec, t *api.Task) model.ProcessSpec {
	p := model.ProcessSpec{
		Image:      familiar(ctr.Image),
		Entrypoint: ctr.Command,
		Args:       ctr.Args,
		Env:        append(append([]string{}, ctr.Env...), genericresource.EnvFormat(t.AssignedGenericResources, "DOCKER_RESOURCE")...),
		Dir:        ctr.Dir,
		User:       ctr.User,
		Hostname:   ctr.Hostname,
		StopSignal: ctr.StopSignal,
		TTY:        ctr.TTY,
		OpenStdin:  ctr.OpenStdin,
	}
	p.StopGrace = span(ctr.StopGracePeriod)
	boundProcess(&p, ctr, t)
	return p
}

// familiar gives an image the name it has in Docker's lists.
func familiar(image string) string {
	ref, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image
	}
	return reference.FamiliarString(reference.TagNameOnly(ref))
}

// taskLabels are the container's labels with those dockerd adds to a task's.
func taskLabels(ctr *api.ContainerSpec, t *api.Task) map[string]string {
	out := map[string]string{}
	for _, m := range []map[string]string{ctr.Labels, t.Annotations.Labels} {
		for k, v := range m {
			out[k] = v
		}
	}
	const prefix = "com.docker.swarm."
	out[prefix+"task"] = ""
	out[prefix+"task.id"] = t.ID
	out[prefix+"task.name"] = naming.Task(t)
	out[prefix+"node.id"] = t.NodeID
	out[prefix+"service.id"] = t.ServiceID
	out[prefix+"service.name"] = t.ServiceAnnotations.Name
	return out
}

// runnable refuses what would otherwise silently be left out, or worse, sent
// in clear.
func runnable(t *api.Task) error {
	ctr := t.Spec.GetContainer()
	if ctr == nil {
		return fault.Unsupported("tasks of this runtime are not supported by this engine: only containers are")
	}
	if ctr.Image == "" {
		return fault.Invalid("task has no image")
	}
	if what := unsupported(ctr); len(what) > 0 {
		return fault.Unsupported("this engine cannot run tasks with %s: take it out of the service, or place the service on Docker nodes with a constraint", strings.Join(what, ", "))
	}
	for _, na := range t.Networks {
		if err := usable(na.Network); err != nil {
			return err
		}
	}
	return nil
}

func unsupported(ctr *api.ContainerSpec) []string {
	var what []string
	for _, f := range []struct {
		name string
		used bool
	}{
		{"secrets", len(ctr.Secrets) > 0},
		{"configs", len(ctr.Configs) > 0},
		{"credential or SELinux settings", ctr.Privileges != nil && (ctr.Privileges.CredentialSpec != nil || ctr.Privileges.SELinuxContext != nil)},
		{"a system call filter of its own", customProfile(ctr.Privileges)},
		{"an init process", ctr.Init != nil && ctr.Init.Value},
	} {
		if f.used {
			what = append(what, f.name)
		}
	}
	return what
}

// usable refuses networks this node can't carry.
func usable(n *api.Network) error {
	name := n.Spec.Annotations.Name
	switch {
	case encrypted(n):
		return fault.Unsupported("network %s is encrypted, and this engine cannot encrypt yet: it carries no traffic of such a network, also not in clear", name)
	case n.DriverState == nil || n.DriverState.Name != overlayDriver:
		driver := ""
		if n.DriverState != nil {
			driver = n.DriverState.Name
		}
		return fault.Unsupported("network %s has driver %q: tasks of this engine can use overlay networks only", name, driver)
	}
	return nil
}
