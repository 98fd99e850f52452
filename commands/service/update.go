package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/docker/cli/opts/swarmopts"
	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/registryauth"
)

// updateOptions are the flags and arguments of `service update`.
type updateOptions struct {
	flags   *specFlags
	service string
	image   string
	args    wordList
	force   bool
	back    bool // --rollback

	configRemove         opts.ListOpts
	constraintRemove     opts.ListOpts
	containerLabelRemove opts.ListOpts
	dnsRemove            opts.ListOpts
	dnsOptionRemove      opts.ListOpts
	dnsSearchRemove      opts.ListOpts
	envRemove            opts.ListOpts
	genericRemove        opts.ListOpts
	groupRemove          opts.ListOpts
	hostRemove           opts.ListOpts
	labelRemove          opts.ListOpts
	mountRemove          opts.ListOpts
	networkRemove        opts.ListOpts
	preferenceRemove     preferences
	publishRemove        swarmopts.PortOpt
	secretRemove         opts.ListOpts
	sysctlRemove         opts.ListOpts
	ulimitRemove         opts.ListOpts
}

// updateAPI is what `service update` asks of the daemon.
type updateAPI interface {
	NetworkInspector
	SecretLister
	ConfigLister
	waitAPI
	Updater
}

// Updater sends a service's new specification.
type Updater interface {
	ServiceUpdate(ctx context.Context, id string, version swarm.Version, spec swarm.ServiceSpec,
		options swarm.ServiceUpdateOptions) (swarm.ServiceUpdateResponse, error)
}

func newUpdateCommand(env *cmdenv.Env, hook func(*updateOptions) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "update [OPTIONS] SERVICE",
		Short:             "Update a service",
		Args:              cmdenv.ExactArgs(1),
		ValidArgsFunction: complete.Services(env),
	}
	o := &updateOptions{flags: newSpecFlags(cmd.Flags())}
	o.bind(cmd.Flags())
	completeShared(cmd)
	complete.Flag(cmd, flagNetworkAdd, complete.Networks(env))
	complete.Flag(cmd, flagNetworkRemove, complete.Networks(env))
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.service = args[0]
		if hook != nil {
			return hook(o)
		}
		api, err := env.Client(cmd.Context())
		if err != nil {
			return err
		}
		return runUpdate(cmd.Context(), env, api, o)
	}
	return cmd
}

func (o *updateOptions) bind(set *pflag.FlagSet) {
	o.flags.bindShared(false)
	set.StringVar(&o.image, flagImage, "", "Service image tag")
	set.Var(&o.args, flagArgs, "Service command args")
	set.BoolVar(&o.back, flagRollback, false, "Rollback to previous specification")
	set.BoolVar(&o.force, flagForce, false, "Force update even if no changes require it")
	o.bindAdding(set)
	for _, rm := range o.removals() {
		*rm.value = opts.NewListOpts(nil)
		set.Var(rm.value, rm.flag, rm.usage)
	}
	set.Var(&o.preferenceRemove, flagPlacementPrefRemove, "Remove a placement preference")
	set.Var(&o.publishRemove, flagPublishRemove, "Remove a published port by its target port")
}

func (o *updateOptions) bindAdding(set *pflag.FlagSet) {
	f, c := o.flags, &o.flags.container
	set.Var(&f.labels, "label-add", "Add or update a service label")
	set.Var(&c.labels, "container-label-add", "Add or update a container label")
	set.Var(&c.env, flagEnvAdd, "Add or update an environment variable")
	set.Var(&f.secrets, flagSecretAdd, "Add or update a secret on a service")
	set.Var(&f.configs, flagConfigAdd, "Add or update a config file on a service")
	set.Var(&c.mounts, "mount-add", "Add or update a mount on a service")
	set.Var(&f.placement.constraints, flagConstraintAdd, "Add or update a placement constraint")
	set.Var(&f.placement.preferences, flagPlacementPrefAdd, "Add a placement preference")
	set.Var(&f.networks, flagNetworkAdd, "Add a network")
	set.Var(&f.ports, flagPublishAdd, "Add or update a published port")
	set.Var(&c.groups, flagGroupAdd, "Add an additional supplementary user group to the container")
	set.Var(&c.dns, flagDNSAdd, "Add or update a custom DNS server")
	set.Var(&c.dnsOptions, flagDNSOptionAdd, "Add or update a DNS option")
	set.Var(&c.dnsSearch, flagDNSSearchAdd, "Add or update a custom DNS search domain")
	set.Var(&c.hosts, flagHostAdd, `Add a custom host-to-IP mapping ("host:ip")`)
	set.Var(&c.sysctls, "sysctl-add", "Add or update a Sysctl option")
	set.Var(c.ulimits, "ulimit-add", "Add or update a ulimit option")
	set.Var(&f.resources.generic, flagGenericResourceAdd, "Add a Generic resource")
}

// removal is a flag that takes entries off a list.
type removal struct {
	value *opts.ListOpts
	flag  string
	usage string
}

func (o *updateOptions) removals() []removal {
	return []removal{
		{&o.configRemove, "config-rm", "Remove a configuration file"},
		{&o.constraintRemove, flagConstraintRemove, "Remove a constraint"},
		{&o.containerLabelRemove, "container-label-rm", "Remove a container label by its key"},
		{&o.dnsRemove, flagDNSRemove, "Remove a custom DNS server"},
		{&o.dnsOptionRemove, flagDNSOptionRemove, "Remove a DNS option"},
		{&o.dnsSearchRemove, flagDNSSearchRemove, "Remove a DNS search domain"},
		{&o.envRemove, "env-rm", "Remove an environment variable"},
		{&o.genericRemove, flagGenericResourceRemove, "Remove a Generic resource"},
		{&o.groupRemove, flagGroupRemove, "Remove a previously added supplementary user group from the container"},
		{&o.hostRemove, flagHostRemove, `Remove a custom host-to-IP mapping ("host:ip")`},
		{&o.labelRemove, "label-rm", "Remove a label by its key"},
		{&o.mountRemove, "mount-rm", "Remove a mount by its target path"},
		{&o.networkRemove, flagNetworkRemove, "Remove a network"},
		{&o.secretRemove, "secret-rm", "Remove a secret"},
		{&o.sysctlRemove, "sysctl-rm", "Remove a Sysctl option"},
		{&o.ulimitRemove, "ulimit-rm", "Remove a ulimit option"},
	}
}

func runUpdate(ctx context.Context, env *cmdenv.Env, api updateAPI, o *updateOptions) error {
	service, _, err := api.ServiceInspectWithRaw(ctx, o.service, swarm.ServiceInspectOptions{})
	if err != nil {
		return err
	}
	options, err := o.prepare(ctx, env, api, &service.Spec)
	if err != nil {
		return err
	}
	response, err := api.ServiceUpdate(ctx, service.ID, service.Version, service.Spec, options)
	if err != nil {
		return err
	}
	printWarnings(env.Err, response.Warnings)
	fmt.Fprintln(env.Out, o.service)
	if o.flags.detach {
		return nil
	}
	return waitConverged(ctx, env, api, o.service, o.flags.quiet)
}

// prepare edits the specification and says how it is to be sent. A rollback
// is the daemon's work and cannot be combined with a change.
func (o *updateOptions) prepare(ctx context.Context, env *cmdenv.Env, api updateAPI, spec *swarm.ServiceSpec) (swarm.ServiceUpdateOptions, error) {
	options := swarm.ServiceUpdateOptions{RegistryAuthFrom: swarm.RegistryAuthFromSpec}
	if o.back {
		if o.changesBesidesRollback() {
			return options, errors.New("other flags may not be combined with --rollback")
		}
		options.Rollback = "previous"
	}
	if err := o.edit(ctx, api, spec); err != nil {
		return options, err
	}
	if err := o.editReferences(ctx, api, spec.TaskTemplate.ContainerSpec); err != nil {
		return options, err
	}
	options.QueryRegistry = o.flags.changed(flagImage) && !o.flags.noResolveImage
	if o.flags.registryAuth {
		auth, err := registryauth.Encoded(env.ConfigDir(), spec.TaskTemplate.ContainerSpec.Image)
		if err != nil {
			return options, err
		}
		options.EncodedRegistryAuth, options.RegistryAuthFrom = auth, ""
	}
	return options, nil
}

func (o *updateOptions) changesBesidesRollback() bool {
	other := false
	o.flags.set.Visit(func(f *pflag.Flag) {
		switch f.Name {
		case flagRollback, flagDetach, flagQuiet:
		default:
			other = true
		}
	})
	return other
}
