package service

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/swarm"

	"weft/commands/imageref"
	"weft/commands/render"
)

// row is a service in a listing.
type row struct {
	ID, Name, Mode, Replicas, Image, Ports string
}

func list() render.List[row] {
	return render.List[row]{
		Headers: render.Headers{
			"ID": "ID", "Name": "NAME", "Mode": "MODE", "Replicas": "REPLICAS", "Image": "IMAGE", "Ports": "PORTS",
		},
		Table:    `{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}`,
		RawQuiet: `id: {{.ID}}`,
		Raw:      `id: {{.ID}}\nname: {{.Name}}\nmode: {{.Mode}}\nreplicas: {{.Replicas}}\nimage: {{.Image}}\nports: {{.Ports}}\n`,
	}
}

func newRow(s swarm.Service) row {
	r := row{
		ID:       render.ShortID(s.ID),
		Name:     s.Spec.Name,
		Mode:     modeName(s.Spec.Mode),
		Replicas: replicasOf(s),
		Ports:    portList(s.Endpoint.Ports),
	}
	if c := s.Spec.TaskTemplate.ContainerSpec; c != nil {
		r.Image = imageref.Short(c.Image)
	}
	return r
}

func modeName(m swarm.ServiceMode) string {
	switch {
	case m.Global != nil:
		return "global"
	case m.Replicated != nil:
		return "replicated"
	case m.ReplicatedJob != nil:
		return "replicated job"
	case m.GlobalJob != nil:
		return "global job"
	}
	return ""
}

// replicasOf counts running and desired tasks; for a job also those that are
// done, of all there were to do.
func replicasOf(s swarm.Service) string {
	var status swarm.ServiceStatus
	if s.ServiceStatus != nil {
		status = *s.ServiceStatus
	}
	text := fmt.Sprintf("%d/%d", status.RunningTasks, status.DesiredTasks)
	mode, placement := s.Spec.Mode, s.Spec.TaskTemplate.Placement
	switch {
	case mode.ReplicatedJob != nil && mode.ReplicatedJob.TotalCompletions != nil:
		return fmt.Sprintf("%s (%d/%d completed)", text, status.CompletedTasks, *mode.ReplicatedJob.TotalCompletions)
	case mode.GlobalJob != nil:
		return fmt.Sprintf("%s (%d/%d completed)", text, status.CompletedTasks, status.DesiredTasks+status.CompletedTasks)
	case mode.Replicated != nil && placement != nil && placement.MaxReplicas > 0:
		return fmt.Sprintf("%s (max %d per node)", text, placement.MaxReplicas)
	}
	return text
}

// portRange is a run of published ports and the target ports behind them:
// either one target for all or a run alike.
type portRange struct {
	protocol                           swarm.PortConfigProtocol
	published, publishedTo, target, to uint32
}

func (r portRange) String() string {
	return fmt.Sprintf("*:%s->%s/%s", span(r.published, r.publishedTo), span(r.target, r.to), r.protocol)
}

func span(from, to uint32) string {
	if to > from {
		return fmt.Sprintf("%d-%d", from, to)
	}
	return strconv.FormatUint(uint64(from), 10)
}

// add extends the run by p if it continues it.
func (r *portRange) add(p swarm.PortConfig) bool {
	if p.Protocol != r.protocol || p.PublishedPort-r.publishedTo > 1 || p.TargetPort-r.to > 1 {
		return false
	}
	if r.to != r.target && p.TargetPort <= r.to { // a run of targets cannot stand still
		return false
	}
	r.publishedTo, r.to = p.PublishedPort, p.TargetPort
	return true
}

// portList gives the ports published on the routing mesh, runs joined.
func portList(ports []swarm.PortConfig) string {
	ports = slices.Clone(ports)
	slices.SortStableFunc(ports, func(a, b swarm.PortConfig) int {
		if a.Protocol != b.Protocol {
			return strings.Compare(string(a.Protocol), string(b.Protocol))
		}
		return int(a.PublishedPort) - int(b.PublishedPort)
	})
	var runs []portRange
	for _, p := range ports {
		if p.PublishMode != swarm.PortConfigPublishModeIngress {
			continue
		}
		if len(runs) > 0 && runs[len(runs)-1].add(p) {
			continue
		}
		runs = append(runs, portRange{p.Protocol, p.PublishedPort, p.PublishedPort, p.TargetPort, p.TargetPort})
	}
	texts := make([]string, 0, len(runs))
	for _, r := range runs {
		texts = append(texts, r.String())
	}
	return strings.Join(texts, ", ")
}
