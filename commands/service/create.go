package service

import (
	"context"
	"fmt"
	"io"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/registryauth"
)

// createOptions are the flags and arguments of `service create`.
type createOptions struct {
	flags    *specFlags
	name     string
	mode     string
	image    string
	args     []string
	envFiles opts.ListOpts
}

// createAPI is what `service create` asks of the daemon.
type createAPI interface {
	NetworkInspector
	SecretLister
	ConfigLister
	waitAPI
	ServiceCreate(ctx context.Context, spec swarm.ServiceSpec, options swarm.ServiceCreateOptions) (swarm.ServiceCreateResponse, error)
}

func newCreateCommand(env *cmdenv.Env, hook func(*createOptions) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create a new service",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	o := &createOptions{flags: newSpecFlags(cmd.Flags()), envFiles: opts.NewListOpts(nil)}
	o.bind(cmd.Flags())
	completeCreate(cmd, env)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.image, o.args = args[0], args[1:]
		if hook != nil {
			return hook(o)
		}
		api, err := env.Client(cmd.Context())
		if err != nil {
			return err
		}
		return runCreate(cmd.Context(), env, api, o)
	}
	return cmd
}

func (o *createOptions) bind(set *pflag.FlagSet) {
	f, c := o.flags, &o.flags.container
	f.bindShared(true)
	set.StringVar(&o.mode, "mode", "replicated", `Service mode ("replicated", "global", "replicated-job", "global-job")`)
	set.StringVar(&o.name, "name", "", "Service name")
	set.VarP(&f.labels, "label", "l", "Service labels")
	set.Var(&c.labels, "container-label", "Container labels")
	set.VarP(&c.env, "env", "e", "Set environment variables")
	set.Var(&o.envFiles, "env-file", "Read in a file of environment variables")
	set.Var(&c.mounts, "mount", "Attach a filesystem mount to the service")
	set.Var(&f.placement.constraints, "constraint", "Placement constraints")
	set.Var(&f.placement.preferences, "placement-pref", "Add a placement preference")
	set.Var(&f.networks, "network", "Network attachments")
	set.Var(&f.secrets, "secret", "Specify secrets to expose to the service")
	set.Var(&f.configs, "config", "Specify configurations to expose to the service")
	set.VarP(&f.ports, "publish", "p", "Publish a port as a node port")
	set.Var(&c.groups, "group", "Set one or more supplementary user groups for the container")
	set.Var(&c.dns, "dns", "Set custom DNS servers")
	set.Var(&c.dnsOptions, "dns-option", "Set DNS options")
	set.Var(&c.dnsSearch, "dns-search", "Set custom DNS search domains")
	set.Var(&c.hosts, "host", "Set one or more custom host-to-IP mappings (host:ip)")
	set.Var(&c.sysctls, "sysctl", "Sysctl options")
	set.Var(c.ulimits, "ulimit", "Ulimit options")
	set.Var(&f.resources.generic, "generic-resource", "User defined resources")
	set.SetInterspersed(false)
}

func completeCreate(cmd *cobra.Command, env *cmdenv.Env) {
	completeShared(cmd)
	complete.Flag(cmd, "mode", complete.Words("replicated", "global", "replicated-job", "global-job"))
	complete.Flag(cmd, "network", complete.Networks(env))
	complete.Flag(cmd, "env-file", complete.Files)
}

func runCreate(ctx context.Context, env *cmdenv.Env, api createAPI, o *createOptions) error {
	spec, err := o.spec(ctx, api)
	if err != nil {
		return err
	}
	if err := o.resolveReferences(ctx, api, &spec); err != nil {
		return err
	}
	options := swarm.ServiceCreateOptions{QueryRegistry: !o.flags.noResolveImage}
	if o.flags.registryAuth {
		if options.EncodedRegistryAuth, err = registryauth.Encoded(env.ConfigDir(), o.image); err != nil {
			return err
		}
	}
	created, err := api.ServiceCreate(ctx, spec, options)
	if err != nil {
		return err
	}
	printWarnings(env.Err, created.Warnings)
	fmt.Fprintln(env.Out, created.ID)
	if o.flags.detach {
		return nil
	}
	return waitConverged(ctx, env, api, created.ID, o.flags.quiet)
}

// resolveReferences adds secrets and configs by their IDs.
func (o *createOptions) resolveReferences(ctx context.Context, api createAPI, spec *swarm.ServiceSpec) error {
	c := spec.TaskTemplate.ContainerSpec
	var err error
	if c.Secrets, err = resolveSecrets(ctx, api, o.flags.secrets.Value()); err != nil {
		return err
	}
	credential := &o.flags.container.credential
	if c.Configs, err = resolveConfigs(ctx, api, append(o.flags.configs.Value(), credentialConfig(credential)...)); err != nil {
		return err
	}
	if c.Privileges != nil {
		setCredentialConfigID(c.Privileges.CredentialSpec, c.Configs)
	}
	return nil
}

func printWarnings(w io.Writer, warnings []string) {
	for _, text := range warnings {
		fmt.Fprintln(w, text)
	}
}
