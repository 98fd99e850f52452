package service

import (
	"context"
	"errors"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
)

// edit changes spec where a flag was given and leaves the rest alone.
// References to secrets and configs are the caller's.
func (o *updateOptions) edit(ctx context.Context, networks NetworkInspector, spec *swarm.ServiceSpec) error {
	task := &spec.TaskTemplate
	if task.ContainerSpec == nil {
		return errors.New("service has no container specification: only services that run containers can be updated")
	}
	editMap(&spec.Labels, o.labelRemove.GetSlice(), o.flags.labels.GetSlice())
	if err := o.editContainer(task.ContainerSpec); err != nil {
		return err
	}
	if err := o.editResources(task); err != nil {
		return err
	}
	o.editScheduling(spec)
	if o.flags.changed(flagNetworkAdd, flagNetworkRemove) {
		if err := o.editNetworks(ctx, networks, spec); err != nil {
			return err
		}
	}
	if err := o.editReplicas(&spec.Mode); err != nil {
		return err
	}
	o.editUpdateConfigs(spec)
	o.editEndpoint(spec)
	if o.flags.changed(flagLogDriver) && o.flags.logDriver != "" {
		task.LogDriver = o.flags.taskLogDriver()
	}
	if o.force {
		task.ForceUpdate++
	}
	return nil
}

func (o *updateOptions) editReplicas(mode *swarm.ServiceMode) error {
	if !o.flags.changed(flagReplicas) {
		return nil
	}
	if mode.Replicated == nil {
		return errors.New("replicas can only be used with replicated mode")
	}
	mode.Replicated.Replicas = o.flags.replicas.value
	return nil
}

// editScheduling changes where tasks run and when they are started again.
func (o *updateOptions) editScheduling(spec *swarm.ServiceSpec) {
	f, task := o.flags, &spec.TaskTemplate
	if f.changed(restartFlagNames...) {
		if task.RestartPolicy == nil {
			task.RestartPolicy = defaultRestartPolicy()
		}
		f.applyRestart(task.RestartPolicy)
	}
	if !f.changed(flagConstraintAdd, flagConstraintRemove, flagPlacementPrefAdd, flagPlacementPrefRemove, flagMaxReplicas) {
		return
	}
	if task.Placement == nil {
		task.Placement = &swarm.Placement{}
	}
	if f.changed(flagConstraintAdd, flagConstraintRemove) {
		task.Placement.Constraints = sortedUnion(task.Placement.Constraints, f.placement.constraints.GetSlice(), o.constraintRemove.GetSlice())
	}
	if f.changed(flagPlacementPrefAdd, flagPlacementPrefRemove) {
		kept := withoutPreferences(task.Placement.Preferences, o.preferenceRemove.list)
		task.Placement.Preferences = append(kept, f.placement.preferences.list...)
	}
	if f.changed(flagMaxReplicas) {
		task.Placement.MaxReplicas = f.placement.maxReplicas
	}
}

func withoutPreferences(list, remove []swarm.PlacementPreference) []swarm.PlacementPreference {
	gone := make(map[string]bool, len(remove))
	for _, p := range remove {
		gone[p.Spread.SpreadDescriptor] = true
	}
	var out []swarm.PlacementPreference
	for _, p := range list {
		if p.Spread == nil || !gone[p.Spread.SpreadDescriptor] {
			out = append(out, p)
		}
	}
	return out
}

var restartFlagNames = []string{flagRestartCondition, flagRestartDelay, flagRestartMaxAttempts, flagRestartWindow}

// applyRestart overwrites what a restart flag was given for.
func (f *specFlags) applyRestart(p *swarm.RestartPolicy) {
	if f.changed(flagRestartCondition) {
		p.Condition = swarm.RestartPolicyCondition(f.restart.condition)
	}
	if f.changed(flagRestartDelay) {
		p.Delay = f.restart.delay.Value()
	}
	if f.changed(flagRestartMaxAttempts) {
		p.MaxAttempts = f.restart.maxAttempts.value
	}
	if f.changed(flagRestartWindow) {
		p.Window = f.restart.window.Value()
	}
}

// updateFlagSet names the flags of one family.
type updateFlagSet struct {
	parallelism, delay, monitor, failureAction, maxFailureRatio, order string
}

var (
	updateFlagNames = updateFlagSet{
		flagUpdateParallelism, flagUpdateDelay, flagUpdateMonitor,
		flagUpdateFailureAction, flagUpdateMaxFailureRatio, flagUpdateOrder,
	}
	rollbackFlagNames = updateFlagSet{
		flagRollbackParallelism, flagRollbackDelay, flagRollbackMonitor,
		flagRollbackFailureAction, flagRollbackMaxFailureRatio, flagRollbackOrder,
	}
)

func (n updateFlagSet) all() []string {
	return []string{n.parallelism, n.delay, n.monitor, n.failureAction, n.maxFailureRatio, n.order}
}

// apply overwrites what a flag of the family was given for.
func (u *updateFlags) apply(f *specFlags, names updateFlagSet, cfg *swarm.UpdateConfig) {
	if f.changed(names.parallelism) {
		cfg.Parallelism = u.parallelism
	}
	if f.changed(names.delay) {
		cfg.Delay = u.delay
	}
	if f.changed(names.monitor) {
		cfg.Monitor = u.monitor
	}
	if f.changed(names.failureAction) {
		cfg.FailureAction = u.failureAction
	}
	if f.changed(names.maxFailureRatio) {
		cfg.MaxFailureRatio = float32(u.maxFailureRatio)
	}
	if f.changed(names.order) {
		cfg.Order = u.order
	}
}

func (o *updateOptions) editUpdateConfigs(spec *swarm.ServiceSpec) {
	f := o.flags
	if f.changed(updateFlagNames.all()...) {
		if spec.UpdateConfig == nil {
			spec.UpdateConfig = defaultUpdateConfig()
		}
		f.update.apply(f, updateFlagNames, spec.UpdateConfig)
	}
	if f.changed(rollbackFlagNames.all()...) {
		if spec.RollbackConfig == nil {
			spec.RollbackConfig = defaultUpdateConfig()
		}
		f.rollback.apply(f, rollbackFlagNames, spec.RollbackConfig)
	}
}

// editResources changes limits and reservations.
func (o *updateOptions) editResources(task *swarm.TaskSpec) error {
	f := o.flags
	if !f.changed(flagLimitCPU, flagLimitMemory, flagLimitPids, flagReserveCPU, flagReserveMemory, flagGenericResourceAdd, flagGenericResourceRemove) {
		return nil
	}
	if task.Resources == nil {
		task.Resources = &swarm.ResourceRequirements{}
	}
	if task.Resources.Limits == nil {
		task.Resources.Limits = &swarm.Limit{}
	}
	if task.Resources.Reservations == nil {
		task.Resources.Reservations = &swarm.Resources{}
	}
	limits, reserved := task.Resources.Limits, task.Resources.Reservations
	setIf(f, flagLimitCPU, &limits.NanoCPUs, f.resources.limitCPU.Value())
	setIf(f, flagLimitMemory, &limits.MemoryBytes, f.resources.limitMemory.Value())
	setIf(f, flagLimitPids, &limits.Pids, f.resources.limitPids)
	setIf(f, flagReserveCPU, &reserved.NanoCPUs, f.resources.reserveCPU.Value())
	setIf(f, flagReserveMemory, &reserved.MemoryBytes, f.resources.reserveMemory.Value())
	return o.editGenericResources(reserved)
}

// setIf assigns value to field when the flag was given.
func setIf[T any](f *specFlags, flag string, field *T, value T) {
	if f.changed(flag) {
		*field = value
	}
}

func (o *updateOptions) editGenericResources(reserved *swarm.Resources) error {
	if !o.flags.changed(flagGenericResourceAdd, flagGenericResourceRemove) {
		return nil
	}
	counts, err := genericResourceCounts(reserved.GenericResources)
	if err != nil {
		return err
	}
	added, err := parseGenericResources(o.flags.resources.generic.GetSlice())
	if err != nil {
		return err
	}
	for _, r := range added {
		counts[r.DiscreteResourceSpec.Kind] = r.DiscreteResourceSpec.Value
	}
	for _, kind := range o.genericRemove.GetSlice() {
		if _, ok := counts[kind]; !ok {
			return errors.New("could not find generic-resource `" + kind + "` to remove it")
		}
		delete(counts, kind)
	}
	reserved.GenericResources = genericResourceList(counts)
	return nil
}

// editHealth changes the health check; --no-healthcheck replaces it.
func (o *updateOptions) editHealth(c *swarm.ContainerSpec) error {
	f, h := o.flags, &o.flags.health
	given := f.changed(flagHealthCmd, flagHealthInterval, flagHealthRetries, flagHealthTimeout, flagHealthStartPeriod, flagHealthStartInterval)
	if !given && !f.changed(flagNoHealthcheck) {
		return nil
	}
	if h.disabled {
		if given {
			return errNoHealthcheckConflict
		}
		c.Healthcheck = &container.HealthConfig{Test: []string{"NONE"}}
		return nil
	}
	if c.Healthcheck == nil {
		c.Healthcheck = &container.HealthConfig{}
	}
	cfg := c.Healthcheck
	if len(cfg.Test) > 0 && cfg.Test[0] == "NONE" {
		cfg.Test = nil
	}
	setIf(f, flagHealthInterval, &cfg.Interval, orZero(h.interval.Value()))
	setIf(f, flagHealthTimeout, &cfg.Timeout, orZero(h.timeout.Value()))
	setIf(f, flagHealthStartPeriod, &cfg.StartPeriod, orZero(h.startPeriod.Value()))
	setIf(f, flagHealthStartInterval, &cfg.StartInterval, orZero(h.startInterval.Value()))
	setIf(f, flagHealthRetries, &cfg.Retries, h.retries)
	if f.changed(flagHealthCmd) {
		cfg.Test = nil
		if h.cmd != "" {
			cfg.Test = []string{"CMD-SHELL", h.cmd}
		}
	}
	return nil
}
