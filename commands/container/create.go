package container

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/network"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/environ"
	"weft/commands/image"
)

// createOptions are the flags and arguments of `create`.
type createOptions struct {
	flags    *configFlags
	image    string
	args     []string
	name     string
	pull     string
	platform string
	quiet    bool
	noTrust  bool // anything else cannot be had
}

// daemon is what flags are judged by.
type daemon interface {
	ClientVersion() string
	DaemonHost() string
}

// Creator makes containers.
type Creator interface {
	image.Puller
	daemon
	ContainerCreate(ctx context.Context, config *container.Config, host *container.HostConfig, networking *network.NetworkingConfig,
		platform *ocispec.Platform, name string) (container.CreateResponse, error)
}

// NewCreate gives the `create` command.
func NewCreate(env *cmdenv.Env) *cobra.Command { return newCreateCommand(env, nil) }

func newCreateCommand(env *cmdenv.Env, hook func(*createOptions) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] IMAGE [COMMAND] [ARG...]",
		Short:             "Create a new container",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: complete.Images(env),
		Annotations:       cmdenv.AlsoKnownAs("container create", "create"),
	}
	o := &createOptions{flags: newConfigFlags(cmd.Flags())}
	o.bind(cmd.Flags(), env, "creating")
	completeConfig(cmd, env)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o.image, o.args = args[0], args[1:]
		if hook != nil {
			return hook(o)
		}
		api, err := env.Client(cmd.Context())
		if err != nil {
			return err
		}
		c, err := o.creation(env, api, "create")
		if err != nil {
			return err
		}
		id, err := create(cmd.Context(), env, api, o, c)
		if err != nil {
			return err
		}
		fmt.Fprintln(env.Out, id)
		return nil
	}
	return cmd
}

// bind adds the flags that are about making the container and not part of it.
func (o *createOptions) bind(set *pflag.FlagSet, env *cmdenv.Env, doing string) {
	set.SetInterspersed(false)
	set.StringVar(&o.name, "name", "", "Assign a name to the container")
	set.StringVar(&o.pull, "pull", pullMissing, `Pull image before `+doing+` ("`+pullAlways+`", "`+pullMissing+`", "`+pullNever+`")`)
	set.BoolVarP(&o.quiet, "quiet", "q", false, "Suppress the pull output")
	set.StringVar(&o.platform, "platform", env.Getenv("DOCKER_DEFAULT_PLATFORM"), "Set platform if server is multi-platform capable")
	cmdenv.Since(set, "1.32", "platform")
	set.BoolVar(&o.noTrust, "disable-content-trust", true, "Skip image verification")
	set.Lookup("disable-content-trust").Hidden = true
	// -h is --hostname here, so cobra must not make it --help.
	set.Bool("help", false, "Print usage")
}

// creation makes the container's configuration from the flags of a command.
func (o *createOptions) creation(env *cmdenv.Env, api daemon, command string) (creation, error) {
	if err := cmdenv.CheckSince(o.flags.set, api.ClientVersion()); err != nil {
		return creation{}, err
	}
	if err := o.check(); err != nil {
		return creation{}, usageError(err, command)
	}
	c, err := o.flags.creation(o.image, o.args)
	if err != nil {
		return creation{}, usageError(err, command)
	}
	if c.config.Env, err = environ.WithProxies(env.ConfigDir(), api.DaemonHost(), c.config.Env); err != nil {
		return creation{}, usageError(err, command)
	}
	return c, nil
}

func (o *createOptions) check() error {
	if !o.noTrust {
		return errors.New("content trust is not supported: leave out --disable-content-trust=false")
	}
	return checkPull(o.pull)
}

// create makes a container and gives its ID. A missing image is fetched and
// the container made again.
func create(ctx context.Context, env *cmdenv.Env, api Creator, o *createOptions, c creation) (id string, err error) {
	file, err := openCIDFile(c.host.ContainerIDFile)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, file.close()) }()
	platform, err := parsePlatform(o.platform)
	if err != nil {
		return "", err
	}
	ref, err := reference.ParseAnyReference(c.config.Image)
	if err != nil {
		return "", err
	}
	if o.pull == pullAlways {
		if err := image.Fetch(ctx, env, api, c.config.Image, o.platform, o.quiet); err != nil {
			return "", err
		}
	}
	width, height := cmdenv.TerminalOf(env.Out).Size()
	c.host.ConsoleSize = [2]uint{uint(max(height, 0)), uint(max(width, 0))}
	created, err := api.ContainerCreate(ctx, c.config, c.host, c.networking, platform, o.name)
	if named, ok := ref.(reference.Named); ok && errdefs.IsNotFound(err) && o.pull == pullMissing {
		if !o.quiet {
			fmt.Fprintf(env.Err, "Unable to find image '%s' locally\n", reference.FamiliarString(reference.TagNameOnly(named)))
		}
		if err := image.Fetch(ctx, env, api, c.config.Image, o.platform, o.quiet); err != nil {
			return "", err
		}
		created, err = api.ContainerCreate(ctx, c.config, c.host, c.networking, platform, o.name)
	}
	if err != nil {
		return "", err
	}
	for _, text := range append(created.Warnings, loopbackDNS(c.host.DNS)...) {
		fmt.Fprintln(env.Err, "WARNING:", text)
	}
	return created.ID, file.write(created.ID)
}

// loopbackDNS warns of a server that is another host inside a container.
func loopbackDNS(servers []string) []string {
	for _, s := range servers {
		if addr, err := netip.ParseAddr(s); err == nil && addr.IsLoopback() {
			return []string{fmt.Sprintf("Localhost DNS (%s) may fail in containers.", addr)}
		}
	}
	return nil
}
