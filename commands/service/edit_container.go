package service

import (
	"errors"
	"sort"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/swarm"

	"weft/commands/environ"
)

// editContainer changes what runs in a task.
func (o *updateOptions) editContainer(c *swarm.ContainerSpec) error {
	f, cf := o.flags, &o.flags.container
	editMap(&c.Labels, o.containerLabelRemove.GetSlice(), cf.labels.GetSlice())
	editMap(&c.Sysctls, o.sysctlRemove.GetSlice(), cf.sysctls.GetSlice())
	setIf(f, flagImage, &c.Image, o.image)
	setIf(f, flagArgs, &c.Args, []string(o.args))
	setIf(f, flagEntrypoint, &c.Command, []string(cf.entrypoint))
	setIf(f, flagWorkdir, &c.Dir, cf.workdir)
	setIf(f, flagUser, &c.User, cf.user)
	setIf(f, flagHostname, &c.Hostname, cf.hostname)
	setIf(f, flagInit, &c.Init, &cf.init)
	setIf(f, flagIsolation, &c.Isolation, container.Isolation(cf.isolation))
	setIf(f, flagOOMScoreAdj, &c.OomScoreAdj, cf.oomScoreAdj)
	setIf(f, flagStopGracePeriod, &c.StopGracePeriod, cf.stopGrace.Value())
	setIf(f, flagTTY, &c.TTY, cf.tty)
	setIf(f, flagReadOnly, &c.ReadOnly, cf.readOnly)
	setIf(f, flagStopSignal, &c.StopSignal, cf.stopSignal)
	c.Env = o.editedEnv(c.Env)
	c.Ulimits = o.editedUlimits(c.Ulimits)
	if f.changed(flagGroupAdd, flagGroupRemove) {
		c.Groups = sortedUnion(c.Groups, cf.groups.GetSlice(), o.groupRemove.GetSlice())
	}
	if f.changed(flagHostAdd, flagHostRemove) {
		c.Hosts = o.editedHosts(c.Hosts)
	}
	if f.changed(flagCapAdd, flagCapDrop) {
		editCapabilities(c, cf.capAdd.GetSlice(), cf.capDrop.GetSlice())
	}
	o.editDNS(c)
	if err := o.editMounts(c); err != nil {
		return err
	}
	return o.editHealth(c)
}

// editMap removes keys from the map and then sets KEY=VALUE pairs.
func editMap(m *map[string]string, remove, add []string) {
	for _, key := range remove {
		name, _, _ := strings.Cut(key, "=")
		delete(*m, name)
	}
	if len(add) == 0 {
		return
	}
	if *m == nil {
		*m = make(map[string]string, len(add))
	}
	for key, value := range opts.ConvertKVStringsToMap(add) {
		(*m)[key] = value
	}
}

// editedEnv keeps the order of the variables: a changed one stays in place.
func (o *updateOptions) editedEnv(env []string) []string {
	if !o.flags.changed(flagEnvAdd) && o.envRemove.Len() == 0 {
		return env
	}
	gone := setOf(o.envRemove.GetSlice())
	out, at := []string{}, map[string]int{}
	put := func(v string) {
		if i, ok := at[environ.Key(v)]; ok {
			out[i] = v
			return
		}
		at[environ.Key(v)] = len(out)
		out = append(out, v)
	}
	for _, v := range env {
		if !gone[environ.Key(v)] {
			put(v)
		}
	}
	for _, v := range o.flags.container.env.GetSlice() {
		put(v)
	}
	return out
}

func (o *updateOptions) editedUlimits(list []*container.Ulimit) []*container.Ulimit {
	byName := make(map[string]*container.Ulimit, len(list))
	for _, u := range list {
		byName[u.Name] = u
	}
	for _, name := range o.ulimitRemove.GetSlice() {
		key, _, _ := strings.Cut(name, "=")
		delete(byName, key)
	}
	for _, u := range o.flags.container.ulimits.GetList() {
		byName[u.Name] = u
	}
	var out []*container.Ulimit
	for _, u := range byName {
		out = append(out, u)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// editMounts replaces mounts by their target.
func (o *updateOptions) editMounts(c *swarm.ContainerSpec) error {
	byTarget := map[string]mount.Mount{}
	for _, m := range o.flags.container.mounts.Value() {
		if _, dup := byTarget[m.Target]; dup {
			return errors.New("duplicate mount target")
		}
		byTarget[m.Target] = m
	}
	for _, m := range c.Mounts {
		if _, replaced := byTarget[m.Target]; !replaced {
			byTarget[m.Target] = m
		}
	}
	for _, target := range o.mountRemove.GetSlice() {
		delete(byTarget, target)
	}
	out := make([]mount.Mount, 0, len(byTarget))
	for _, m := range byTarget {
		out = append(out, m)
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Source != out[j].Source {
			return out[i].Source < out[j].Source
		}
		return out[i].Target < out[j].Target
	})
	c.Mounts = out
	return nil
}

// editedHosts takes names out of the entries, drops entries left without a
// name and appends the new ones. HOST removes the name everywhere, HOST:IP
// only where it stands for that address.
func (o *updateOptions) editedHosts(entries []string) []string {
	var out []string
	for _, entry := range entries {
		fields := strings.Fields(entry)
		if len(fields) == 0 {
			continue
		}
		ip, names := fields[0], fields[1:]
		var kept []string
		for _, name := range names {
			if !o.removesHost(ip, name) {
				kept = append(kept, name)
			}
		}
		if len(kept) > 0 {
			out = append(out, ip+" "+strings.Join(kept, " "))
		}
	}
	return dedupe(append(out, hostEntries(o.flags.container.hosts.GetSlice())...))
}

func (o *updateOptions) removesHost(ip, name string) bool {
	for _, rm := range o.hostRemove.GetSlice() {
		host, addr, _ := strings.Cut(rm, ":")
		if host == name && (addr == "" || addr == ip) {
			return true
		}
	}
	return false
}

func (o *updateOptions) editDNS(c *swarm.ContainerSpec) {
	if !o.flags.changed(flagDNSAdd, flagDNSRemove, flagDNSOptionAdd, flagDNSOptionRemove, flagDNSSearchAdd, flagDNSSearchRemove) {
		return
	}
	old := c.DNSConfig
	if old == nil {
		old = &swarm.DNSConfig{}
	}
	cf := &o.flags.container
	c.DNSConfig = &swarm.DNSConfig{
		Nameservers: sortedUnion(old.Nameservers, cf.dns.GetSlice(), o.dnsRemove.GetSlice()),
		Search:      sortedUnion(old.Search, cf.dnsSearch.GetSlice(), o.dnsSearchRemove.GetSlice()),
		Options:     sortedUnion(old.Options, cf.dnsOptions.GetSlice(), o.dnsOptionRemove.GetSlice()),
	}
}

// editCapabilities merges the capabilities to add and drop into the service's
// lists. Adding one that is dropped only takes it off the list of the dropped,
// and dropping one that is added only takes it off the list of the added: a
// second update is needed to reach the opposite. Adding wins over dropping.
func editCapabilities(c *swarm.ContainerSpec, add, drop []string) {
	added, dropped := opts.CapabilitiesMap(c.CapabilityAdd), opts.CapabilitiesMap(c.CapabilityDrop)
	toAdd, toDrop := opts.CapabilitiesMap(add), opts.CapabilitiesMap(drop)
	if toAdd[opts.ResetCapabilities] {
		added = map[string]bool{}
		delete(toAdd, opts.ResetCapabilities)
	}
	if toDrop[opts.ResetCapabilities] {
		dropped = map[string]bool{}
		delete(toDrop, opts.ResetCapabilities)
	}
	for name := range toDrop {
		if !toAdd[name] {
			toggle(added, dropped, name)
		}
	}
	for name := range toAdd {
		toggle(dropped, added, name)
	}
	c.CapabilityAdd, c.CapabilityDrop = capabilityList(added), capabilityList(dropped)
}

// toggle removes name from the one set or, if it was not there, puts it into
// the other.
func toggle(from, to map[string]bool, name string) {
	if from[name] {
		delete(from, name)
		return
	}
	to[name] = true
}

func capabilityList(set map[string]bool) []string {
	if set[opts.AllCapabilities] {
		return []string{opts.AllCapabilities}
	}
	var out []string
	for name := range set {
		out = append(out, name)
	}
	sort.Strings(out)
	return out
}

// sortedUnion is old and add without the removed ones, sorted and without
// doubles, so that an update that changes nothing does not restart tasks.
func sortedUnion(old, add, remove []string) []string {
	gone := setOf(remove)
	out := []string{}
	for _, list := range [][]string{old, add} {
		for _, v := range list {
			if !gone[v] {
				out = append(out, v)
			}
		}
	}
	out = dedupe(out)
	sort.Strings(out)
	return out
}

func dedupe(list []string) []string {
	seen := make(map[string]bool, len(list))
	out := []string{}
	for _, v := range list {
		if !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	return out
}

func setOf(list []string) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, v := range list {
		out[v] = true
	}
	return out
}
