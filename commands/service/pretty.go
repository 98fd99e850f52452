package service

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/go-units"

	"weft/commands/render"
)

// prettyPrinter writes a service for people, in docker's layout to the blank:
// scripts read it.
type prettyPrinter struct {
	w        *strings.Builder
	now      time.Time
	networks map[string]string // names by ID
}

// line writes a line; it begins with the newline, because what ends a line
// depends on what follows.
func (p prettyPrinter) line(format string, args ...any) { fmt.Fprintf(p.w, "\n"+format, args...) }

func (p prettyPrinter) service(s swarm.Service) {
	task := s.Spec.TaskTemplate
	p.line("ID:\t\t%s", s.ID)
	p.line("Name:\t\t%s", s.Spec.Name)
	p.pairs("Labels:", s.Spec.Labels, "=")
	p.mode(s.Spec.Mode)
	p.updateStatus(s.UpdateStatus)
	p.placement(task.Placement)
	p.updateConfig("UpdateConfig:", "Update order:     ", s.Spec.UpdateConfig)
	p.updateConfig("RollbackConfig:", "Rollback order:   ", s.Spec.RollbackConfig)
	if task.ContainerSpec != nil {
		p.container(task.ContainerSpec)
	}
	p.logDriver(task.LogDriver)
	p.resources(task.Resources)
	p.attachments(task.Networks)
	p.endpoint(s)
	if task.ContainerSpec != nil {
		p.health(task.ContainerSpec.Healthcheck)
	}
	p.w.WriteString("\n\n")
}

// pairs writes a heading and key, separator and value of each entry.
func (p prettyPrinter) pairs(heading string, m map[string]string, separator string) {
	if len(m) == 0 {
		return
	}
	p.line("%s", heading)
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if m[key] == "" {
			p.line(" %s", key)
			continue
		}
		p.line(" %s%s%s", key, separator, m[key])
	}
}

func (p prettyPrinter) mode(m swarm.ServiceMode) {
	p.line("Service Mode:")
	switch {
	case m.Global != nil:
		p.w.WriteString("\tGlobal")
	case m.Replicated != nil:
		p.w.WriteString("\tReplicated")
		if m.Replicated.Replicas != nil {
			p.line(" Replicas:\t%d", *m.Replicated.Replicas)
		}
	}
}

func (p prettyPrinter) updateStatus(u *swarm.UpdateStatus) {
	if u == nil || u.State == "" {
		return
	}
	p.line("UpdateStatus:")
	p.line(" State:\t\t%s", u.State)
	if u.StartedAt != nil {
		p.line(" Started:\t%s ago", render.Ago(p.now, *u.StartedAt))
	}
	if u.State == swarm.UpdateStateCompleted && u.CompletedAt != nil {
		p.line(" Completed:\t%s ago", render.Ago(p.now, *u.CompletedAt))
	}
	p.line(" Message:\t%s", u.Message)
}

func (p prettyPrinter) placement(pl *swarm.Placement) {
	p.line("Placement:")
	if pl == nil {
		return
	}
	if len(pl.Constraints) > 0 {
		p.line(" Constraints:\t%v", pl.Constraints)
	}
	var prefs []string
	for _, pref := range pl.Preferences {
		if pref.Spread != nil {
			prefs = append(prefs, "spread="+pref.Spread.SpreadDescriptor)
		}
	}
	if len(prefs) > 0 {
		p.line(" Preferences:   %v", prefs)
	}
	if pl.MaxReplicas > 0 {
		p.line(" Max Replicas Per Node:   %d", pl.MaxReplicas)
	}
}

func (p prettyPrinter) updateConfig(heading, orderLabel string, u *swarm.UpdateConfig) {
	if u == nil {
		return
	}
	p.line("%s", heading)
	p.line(" Parallelism:\t%d", u.Parallelism)
	if u.Delay > 0 {
		p.line(" Delay:\t\t%v", u.Delay)
	}
	p.line(" On failure:\t%s", u.FailureAction)
	if u.Monitor > 0 {
		p.line(" Monitoring Period: %v", u.Monitor)
	}
	p.line(" Max failure ratio: %v", u.MaxFailureRatio)
	p.line(" %s %s", orderLabel, u.Order)
}

func (p prettyPrinter) container(c *swarm.ContainerSpec) {
	p.line("ContainerSpec:")
	p.line(" Image:\t\t%s", c.Image)
	p.words(" Args:\t\t", c.Args)
	p.words(" Env:\t\t", c.Env)
	if c.Dir != "" {
		p.line(" Dir:\t\t%s", c.Dir)
	}
	if c.Init != nil {
		p.line(" Init:\t\t%t", *c.Init)
	}
	if c.User != "" {
		p.line(" User: %s", c.User)
	}
	p.capabilities(c)
	p.pairs("SysCtls:", c.Sysctls, ": ")
	p.pairs("Ulimits:", ulimitTexts(c.Ulimits), ": ")
	p.files(c)
}

// words writes a label and words with a blank behind each.
func (p prettyPrinter) words(label string, words []string) {
	if len(words) > 0 {
		p.line("%s%s ", label, strings.Join(words, " "))
	}
}

func ulimitTexts(list []*container.Ulimit) map[string]string {
	out := make(map[string]string, len(list))
	for _, u := range list {
		out[u.Name] = fmt.Sprintf("%d:%d", u.Soft, u.Hard)
	}
	return out
}

func (p prettyPrinter) capabilities(c *swarm.ContainerSpec) {
	if len(c.CapabilityAdd)+len(c.CapabilityDrop) == 0 {
		return
	}
	p.line("Capabilities:")
	if len(c.CapabilityAdd) > 0 {
		p.line(" Add: %s", strings.Join(c.CapabilityAdd, ", "))
	}
	if len(c.CapabilityDrop) > 0 {
		p.line(" Drop: %s", strings.Join(c.CapabilityDrop, ", "))
	}
}

// files writes mounts, configs and secrets.
func (p prettyPrinter) files(c *swarm.ContainerSpec) {
	if len(c.Mounts) > 0 {
		p.line("Mounts:")
	}
	for _, m := range c.Mounts {
		p.line(" Target:\t%s", m.Target)
		p.line("  Source:\t%s", m.Source)
		p.line("  ReadOnly:\t%t", m.ReadOnly)
		p.line("  Type:\t\t%s", m.Type)
	}
	if len(c.Configs) > 0 {
		p.line("Configs:")
	}
	for _, r := range c.Configs {
		target := ""
		if r.File != nil {
			target = r.File.Name
		}
		p.line(" Target:\t%s", target)
		p.line("  Source:\t%s", r.ConfigName)
	}
	if len(c.Secrets) > 0 {
		p.line("Secrets:")
	}
	for _, r := range c.Secrets {
		target := ""
		if r.File != nil {
			target = r.File.Name
		}
		p.line(" Target:\t%s", target)
		p.line("  Source:\t%s", r.SecretName)
	}
}

func (p prettyPrinter) logDriver(d *swarm.Driver) {
	if d == nil {
		return
	}
	p.line("Log Driver:")
	if d.Name != "" {
		p.line(" Name:\t\t%s", d.Name)
	}
	p.pairs(" LogOpts:", indented(d.Options), ":       ")
	p.w.WriteString("\n")
}

func indented(m map[string]string) map[string]string {
	out := make(map[string]string, len(m))
	for key, value := range m {
		out[" "+key] = value
	}
	return out
}

func (p prettyPrinter) resources(r *swarm.ResourceRequirements) {
	if r == nil {
		return
	}
	p.line("Resources:")
	if res := r.Reservations; res != nil && cmp.Or(res.NanoCPUs, res.MemoryBytes) > 0 {
		p.line(" Reservations:")
		p.amounts(res.NanoCPUs, res.MemoryBytes)
	}
	if r.Limits == nil {
		return
	}
	if cmp.Or(r.Limits.NanoCPUs, r.Limits.MemoryBytes, r.Limits.Pids) > 0 {
		p.line(" Limits:")
		p.amounts(r.Limits.NanoCPUs, r.Limits.MemoryBytes)
	}
	if r.Limits.Pids > 0 {
		p.line("  PIDs:\t\t%d", r.Limits.Pids)
	}
}

func (p prettyPrinter) amounts(nanoCPUs, memory int64) {
	if nanoCPUs > 0 {
		p.line("  CPU:\t\t%v", float64(nanoCPUs)/1e9)
	}
	if memory != 0 {
		p.line("  Memory:\t%s", units.BytesSize(float64(memory)))
	}
}

func (p prettyPrinter) attachments(list []swarm.NetworkAttachmentConfig) {
	if len(list) == 0 {
		return
	}
	names := make([]string, 0, len(list))
	for _, n := range list {
		names = append(names, cmp.Or(p.networks[n.Target], n.Target))
	}
	p.line("Networks: %s ", strings.Join(names, " "))
}

func (p prettyPrinter) endpoint(s swarm.Service) {
	mode := swarm.ResolutionMode("")
	if s.Spec.EndpointSpec != nil {
		mode = s.Spec.EndpointSpec.Mode
	}
	p.line("Endpoint Mode:\t%s", mode)
	if len(s.Endpoint.Ports) == 0 {
		return
	}
	p.line("Ports:")
	for _, port := range s.Endpoint.Ports {
		p.line(" PublishedPort = %d", port.PublishedPort)
		p.line("  Protocol = %s", port.Protocol)
		p.line("  TargetPort = %d", port.TargetPort)
		p.line("  PublishMode = %s", port.PublishMode)
	}
	p.w.WriteString(" ")
}

func (p prettyPrinter) health(h *container.HealthConfig) {
	if h == nil {
		return
	}
	p.line(" Healthcheck:")
	p.line("  Interval = %v", h.Interval)
	p.line("  Retries = %d", h.Retries)
	p.line("  StartPeriod =\t%v", h.StartPeriod)
	p.line("  Timeout =\t%v", h.Timeout)
	if len(h.Test) == 0 {
		return
	}
	p.line("  Tests:")
	for _, test := range h.Test {
		p.line("\t Test = %s", test)
	}
	p.w.WriteString(" ")
}
