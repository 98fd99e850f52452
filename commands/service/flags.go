package service

import (
	"fmt"
	"time"

	"github.com/docker/cli/opts"
	"github.com/docker/cli/opts/swarmopts"
	"github.com/spf13/pflag"
)

// specFlags are the flags from which a service specification is made. Create
// and update bind them under different names where a list can be added to.
type specFlags struct {
	set *pflag.FlagSet // tells given flags from untouched ones

	detach         bool
	quiet          bool
	registryAuth   bool
	noResolveImage bool

	labels    opts.ListOpts
	replicas  optionalUint
	placement placementFlags
	container containerFlags
	resources resourceFlags
	restart   restartFlags
	update    updateFlags
	rollback  updateFlags
	health    healthFlags
	logDriver string
	logOpts   opts.ListOpts

	maxConcurrent optionalUint
	networks      opts.NetworkOpt
	endpointMode  string
	ports         swarmopts.PortOpt
	secrets       swarmopts.SecretOpt
	configs       swarmopts.ConfigOpt
}

type containerFlags struct {
	labels      opts.ListOpts
	entrypoint  wordList
	hostname    string
	env         opts.ListOpts
	workdir     string
	user        string
	groups      opts.ListOpts
	credential  credentialSpec
	init        bool
	stopSignal  string
	stopGrace   opts.DurationOpt
	tty         bool
	readOnly    bool
	mounts      opts.MountOpt
	dns         opts.ListOpts
	dnsSearch   opts.ListOpts
	dnsOptions  opts.ListOpts
	hosts       opts.ListOpts
	sysctls     opts.ListOpts
	capAdd      opts.ListOpts
	capDrop     opts.ListOpts
	ulimits     *opts.UlimitOpt
	oomScoreAdj int64
	isolation   string
}

type placementFlags struct {
	constraints opts.ListOpts
	preferences preferences
	maxReplicas uint64
}

type resourceFlags struct {
	limitCPU      opts.NanoCPUs
	limitMemory   opts.MemBytes
	limitPids     int64
	reserveCPU    opts.NanoCPUs
	reserveMemory opts.MemBytes
	generic       opts.ListOpts
}

type restartFlags struct {
	condition   string
	delay       opts.DurationOpt
	maxAttempts optionalUint
	window      opts.DurationOpt
}

// updateFlags are one family of --update-* or --rollback-* flags.
type updateFlags struct {
	parallelism     uint64
	delay           time.Duration
	monitor         time.Duration
	failureAction   string
	maxFailureRatio ratio
	order           string
}

type healthFlags struct {
	cmd           string
	interval      opts.PositiveDurationOpt
	timeout       opts.PositiveDurationOpt
	retries       int
	startPeriod   opts.PositiveDurationOpt
	startInterval opts.PositiveDurationOpt
	disabled      bool
}

func newSpecFlags(set *pflag.FlagSet) *specFlags {
	return &specFlags{
		set:     set,
		labels:  opts.NewListOpts(opts.ValidateLabel),
		logOpts: opts.NewListOpts(opts.ValidateEnv),
		placement: placementFlags{
			constraints: opts.NewListOpts(nil),
		},
		resources: resourceFlags{generic: opts.NewListOpts(validateGenericResource)},
		container: containerFlags{
			labels:     opts.NewListOpts(opts.ValidateLabel),
			env:        opts.NewListOpts(opts.ValidateEnv),
			groups:     opts.NewListOpts(nil),
			dns:        opts.NewListOpts(opts.ValidateIPAddress),
			dnsSearch:  opts.NewListOpts(opts.ValidateDNSSearch),
			dnsOptions: opts.NewListOpts(nil),
			hosts:      opts.NewListOpts(opts.ValidateExtraHost),
			sysctls:    opts.NewListOpts(nil),
			capAdd:     opts.NewListOpts(nil),
			capDrop:    opts.NewListOpts(nil),
			ulimits:    opts.NewUlimitOpt(nil),
		},
	}
}

// changed reports whether any of the flags was given.
func (f *specFlags) changed(names ...string) bool {
	for _, name := range names {
		if f.set.Changed(name) {
			return true
		}
	}
	return false
}

// bindShared binds the flags that create and update have under one name.
// Create shows the defaults of a new service in its help; an update's default
// is what the service has.
func (f *specFlags) bindShared(showDefaults bool) {
	d := describer{show: showDefaults}
	bindDetach(f.set, &f.detach)
	f.set.BoolVarP(&f.quiet, flagQuiet, "q", false, "Suppress progress output")
	f.set.BoolVar(&f.registryAuth, "with-registry-auth", false, "Send registry authentication details to swarm agents")
	f.set.BoolVar(&f.noResolveImage, "no-resolve-image", false, "Do not query the registry to resolve image digest and supported platforms")
	f.set.StringVar(&f.endpointMode, flagEndpointMode, d.text("vip"), "Endpoint mode (vip or dnsrr)")
	f.set.StringVar(&f.logDriver, flagLogDriver, "", "Logging driver for service")
	f.set.Var(&f.logOpts, "log-opt", "Logging driver options")
	f.set.Var(&f.replicas, flagReplicas, "Number of tasks")
	f.set.Var(&f.maxConcurrent, flagConcurrent, "Number of job tasks to run concurrently (default equal to --replicas)")
	f.set.Uint64Var(&f.placement.maxReplicas, flagMaxReplicas, 0, "Maximum number of tasks per node (default 0 = unlimited)")
	f.container.bind(f.set, d)
	f.resources.bind(f.set)
	f.restart.bind(f.set, d)
	f.update.bindUpdate(f.set, d)
	f.rollback.bindRollback(f.set, d)
	f.health.bind(f.set)
}

func bindDetach(set *pflag.FlagSet, detach *bool) {
	set.BoolVarP(detach, flagDetach, "d", false, "Exit immediately instead of waiting for the service to converge")
}

func (c *containerFlags) bind(set *pflag.FlagSet, d describer) {
	set.StringVarP(&c.workdir, flagWorkdir, "w", "", "Working directory inside the container")
	set.StringVarP(&c.user, flagUser, "u", "", "Username or UID (format: <name|uid>[:<group|gid>])")
	set.Var(&c.credential, flagCredentialSpec, "Credential spec for managed service account (Windows only)")
	set.StringVar(&c.hostname, flagHostname, "", "Container hostname")
	set.Var(&c.entrypoint, flagEntrypoint, "Overwrite the default ENTRYPOINT of the image")
	set.Var(&c.capAdd, flagCapAdd, "Add Linux capabilities")
	set.Var(&c.capDrop, flagCapDrop, "Drop Linux capabilities")
	set.Var(&c.stopGrace, flagStopGracePeriod,
		d.usage("Time to wait before force killing a container (ns|us|ms|s|m|h)", defaultStopGracePeriod))
	set.BoolVarP(&c.tty, flagTTY, "t", false, "Allocate a pseudo-TTY")
	set.BoolVar(&c.readOnly, flagReadOnly, false, "Mount the container's root filesystem as read only")
	set.StringVar(&c.stopSignal, flagStopSignal, "", "Signal to stop the container")
	set.StringVar(&c.isolation, flagIsolation, "", "Service container isolation mode")
	set.BoolVar(&c.init, flagInit, false, "Use an init inside each service container to forward signals and reap processes")
	set.Int64Var(&c.oomScoreAdj, flagOOMScoreAdj, 0, "Tune host's OOM preferences (-1000 to 1000) ")
}

func (r *resourceFlags) bind(set *pflag.FlagSet) {
	set.Var(&r.limitCPU, flagLimitCPU, "Limit CPUs")
	set.Var(&r.limitMemory, flagLimitMemory, "Limit Memory")
	set.Int64Var(&r.limitPids, flagLimitPids, 0, "Limit maximum number of processes (default 0 = unlimited)")
	set.Var(&r.reserveCPU, flagReserveCPU, "Reserve CPUs")
	set.Var(&r.reserveMemory, flagReserveMemory, "Reserve Memory")
}

func (r *restartFlags) bind(set *pflag.FlagSet, d describer) {
	set.StringVar(&r.condition, flagRestartCondition, "",
		d.usage(`Restart when condition is met ("none", "on-failure", "any")`, fmt.Sprintf("%q", defaultRestartCondition)))
	set.Var(&r.delay, flagRestartDelay, d.usage("Delay between restart attempts (ns|us|ms|s|m|h)", defaultRestartDelay))
	set.Var(&r.maxAttempts, flagRestartMaxAttempts, "Maximum number of restarts before giving up")
	set.Var(&r.window, flagRestartWindow, "Window used to evaluate the restart policy (ns|us|ms|s|m|h)")
}

func (u *updateFlags) bindUpdate(set *pflag.FlagSet, d describer) {
	set.Uint64Var(&u.parallelism, flagUpdateParallelism, d.number(defaultParallelism),
		"Maximum number of tasks updated simultaneously (0 to update all at once)")
	set.DurationVar(&u.delay, flagUpdateDelay, 0, d.usage("Delay between updates (ns|us|ms|s|m|h)", "0s"))
	set.DurationVar(&u.monitor, flagUpdateMonitor, 0,
		d.usage("Duration after each task update to monitor for failure (ns|us|ms|s|m|h)", defaultMonitor))
	set.StringVar(&u.failureAction, flagUpdateFailureAction, "",
		d.usage(`Action on update failure ("pause", "continue", "rollback")`, fmt.Sprintf("%q", defaultFailureAction)))
	set.Var(&u.maxFailureRatio, flagUpdateMaxFailureRatio, d.usage("Failure rate to tolerate during an update", 0))
	set.StringVar(&u.order, flagUpdateOrder, "",
		d.usage(`Update order ("start-first", "stop-first")`, fmt.Sprintf("%q", defaultOrder)))
}

func (u *updateFlags) bindRollback(set *pflag.FlagSet, d describer) {
	set.Uint64Var(&u.parallelism, flagRollbackParallelism, d.number(defaultParallelism),
		"Maximum number of tasks rolled back simultaneously (0 to roll back all at once)")
	set.DurationVar(&u.delay, flagRollbackDelay, 0, d.usage("Delay between task rollbacks (ns|us|ms|s|m|h)", "0s"))
	set.DurationVar(&u.monitor, flagRollbackMonitor, 0,
		d.usage("Duration after each task rollback to monitor for failure (ns|us|ms|s|m|h)", defaultMonitor))
	set.StringVar(&u.failureAction, flagRollbackFailureAction, "",
		d.usage(`Action on rollback failure ("pause", "continue")`, fmt.Sprintf("%q", defaultFailureAction)))
	set.Var(&u.maxFailureRatio, flagRollbackMaxFailureRatio, d.usage("Failure rate to tolerate during a rollback", 0))
	set.StringVar(&u.order, flagRollbackOrder, "",
		d.usage(`Rollback order ("start-first", "stop-first")`, fmt.Sprintf("%q", defaultOrder)))
}

func (h *healthFlags) bind(set *pflag.FlagSet) {
	set.StringVar(&h.cmd, flagHealthCmd, "", "Command to run to check health")
	set.Var(&h.interval, flagHealthInterval, "Time between running the check (ms|s|m|h)")
	set.Var(&h.timeout, flagHealthTimeout, "Maximum time to allow one check to run (ms|s|m|h)")
	set.IntVar(&h.retries, flagHealthRetries, 0, "Consecutive failures needed to report unhealthy")
	set.Var(&h.startPeriod, flagHealthStartPeriod,
		"Start period for the container to initialize before counting retries towards unstable (ms|s|m|h)")
	set.Var(&h.startInterval, flagHealthStartInterval, "Time between running the check during the start period (ms|s|m|h)")
	set.BoolVar(&h.disabled, flagNoHealthcheck, false, "Disable any container-specified HEALTHCHECK")
}

// describer writes a new service's defaults into the help.
type describer struct{ show bool }

// usage appends the default to the description.
func (d describer) usage(text string, value any) string {
	if !d.show {
		return text
	}
	return fmt.Sprintf("%s (default %v)", text, value)
}

func (d describer) number(n uint64) uint64 {
	if !d.show {
		return 0
	}
	return n
}

func (d describer) text(s string) string {
	if !d.show {
		return ""
	}
	return s
}
