package system

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/volume"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/render"
)

// inspectOptions are the flags and arguments of `inspect`.
type inspectOptions struct {
	refs   []string
	format string
	kind   string // empty: any
	size   bool
}

// inspectAPI is what `inspect` asks of the daemon, a method for each kind of
// object.
type inspectAPI interface {
	Informer
	ContainerInspectWithRaw(ctx context.Context, id string, size bool) (container.InspectResponse, []byte, error)
	ImageInspectWithRaw(ctx context.Context, id string) (image.InspectResponse, []byte, error)
	NetworkInspectWithRaw(ctx context.Context, id string, options network.InspectOptions) (network.Inspect, []byte, error)
	VolumeInspectWithRaw(ctx context.Context, id string) (volume.Volume, []byte, error)
	ServiceInspectWithRaw(ctx context.Context, id string, options swarm.ServiceInspectOptions) (swarm.Service, []byte, error)
	TaskInspectWithRaw(ctx context.Context, id string) (swarm.Task, []byte, error)
	NodeInspectWithRaw(ctx context.Context, id string) (swarm.Node, []byte, error)
	SecretInspectWithRaw(ctx context.Context, id string) (swarm.Secret, []byte, error)
	ConfigInspectWithRaw(ctx context.Context, id string) (swarm.Config, []byte, error)
}

// kind is a kind of object and how to look one up.
type kind struct {
	name  string
	swarm bool // only a manager knows it
	get   func(ctx context.Context, api inspectAPI, ref string, size bool) (any, []byte, error)
}

// kinds lists the kinds in the order in which a name is looked for.
func kinds() []kind {
	return []kind{
		{"container", false, func(ctx context.Context, api inspectAPI, ref string, size bool) (any, []byte, error) {
			return api.ContainerInspectWithRaw(ctx, ref, size)
		}},
		{"image", false, func(ctx context.Context, api inspectAPI, ref string, _ bool) (any, []byte, error) {
			return api.ImageInspectWithRaw(ctx, ref)
		}},
		{"network", false, func(ctx context.Context, api inspectAPI, ref string, _ bool) (any, []byte, error) {
			return api.NetworkInspectWithRaw(ctx, ref, network.InspectOptions{})
		}},
		{"volume", false, func(ctx context.Context, api inspectAPI, ref string, _ bool) (any, []byte, error) {
			return api.VolumeInspectWithRaw(ctx, ref)
		}},
		{"service", true, func(ctx context.Context, api inspectAPI, ref string, _ bool) (any, []byte, error) {
			return api.ServiceInspectWithRaw(ctx, ref, swarm.ServiceInspectOptions{InsertDefaults: true})
		}},
		{"task", true, func(ctx context.Context, api inspectAPI, ref string, _ bool) (any, []byte, error) {
			return api.TaskInspectWithRaw(ctx, ref)
		}},
		{"node", true, func(ctx context.Context, api inspectAPI, ref string, _ bool) (any, []byte, error) {
			return api.NodeInspectWithRaw(ctx, ref)
		}},
		{"secret", true, func(ctx context.Context, api inspectAPI, ref string, _ bool) (any, []byte, error) {
			return api.SecretInspectWithRaw(ctx, ref)
		}},
		{"config", true, func(ctx context.Context, api inspectAPI, ref string, _ bool) (any, []byte, error) {
			return api.ConfigInspectWithRaw(ctx, ref)
		}},
	}
}

func kindNames() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	slices.Sort(names)
	return names
}

// NewInspect gives the `inspect` command.
func NewInspect(env *cmdenv.Env) *cobra.Command { return newInspectCommand(env, nil) }

func newInspectCommand(env *cmdenv.Env, hook func(*inspectOptions) error) *cobra.Command {
	o := &inspectOptions{}
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] NAME|ID [NAME|ID...]",
		Short:             "Return low-level information on Docker objects",
		Args:              cmdenv.MinArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.refs = args
			if err := o.check(cmd.Flags().Changed("type")); err != nil {
				return err
			}
			if hook != nil {
				return hook(o)
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runInspect(cmd.Context(), env, api, o)
		},
	}
	cmd.Flags().StringVarP(&o.format, "format", "f", "", render.InspectFormatHelp)
	cmd.Flags().StringVar(&o.kind, "type", "", "Only inspect objects of the given type")
	cmd.Flags().BoolVarP(&o.size, "size", "s", false, "Display total file sizes if the type is container")
	complete.Flag(cmd, "type", complete.Words(kindNames()...))
	return cmd
}

func (o *inspectOptions) check(typeGiven bool) error {
	known := strings.Join(kindNames(), `", "`)
	switch {
	case typeGiven && o.kind == "":
		return fmt.Errorf(`type is empty: must be one of "%s"`, known)
	case o.kind != "" && !slices.Contains(kindNames(), o.kind):
		return fmt.Errorf(`unknown type: %q: must be one of "%s"`, o.kind, known)
	}
	return nil
}

func runInspect(ctx context.Context, env *cmdenv.Env, api inspectAPI, o *inspectOptions) error {
	s := &searcher{api: api, errOut: env.Err, options: o}
	return render.Inspect(env.Out, o.refs, o.format, func(ref string) (any, []byte, error) {
		return s.find(ctx, ref)
	})
}

// searcher looks names up, whatever they are of.
type searcher struct {
	api     inspectAPI
	errOut  io.Writer
	options *inspectOptions
	manager *bool // whether swarm objects can be asked for; nil: not known yet
}

func (s *searcher) find(ctx context.Context, ref string) (any, []byte, error) {
	open := s.options.kind == ""
	for _, k := range kinds() {
		if !open && k.name != s.options.kind || open && k.swarm && !s.isManager(ctx) {
			continue
		}
		value, raw, err := k.get(ctx, s.api, ref, s.options.size)
		if open && notOfKind(err) {
			continue
		}
		if err == nil && s.options.size && k.name != "container" {
			fmt.Fprintln(s.errOut, "WARNING: --size ignored for", k.name)
		}
		return value, raw, err
	}
	return nil, nil, fmt.Errorf("Error: No such object: %s", ref) //nolint:staticcheck // docker's wording
}

// notOfKind reports errors that leave it open that ref is something else.
func notOfKind(err error) bool {
	return errdefs.IsNotFound(err) || errdefs.IsNotImplemented(err) ||
		err != nil && (strings.Contains(err.Error(), "not supported") || strings.Contains(err.Error(), "invalid reference format"))
}

func (s *searcher) isManager(ctx context.Context) bool {
	if s.manager == nil {
		info, err := s.api.Info(ctx)
		if err != nil {
			fmt.Fprintln(s.errOut, err)
		}
		manager := err == nil && info.Swarm.ControlAvailable
		s.manager = &manager
	}
	return *s.manager
}
