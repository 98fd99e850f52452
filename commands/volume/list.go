package volume

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/volume"
	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

type listOptions struct {
	quiet  bool
	format string
	filter opts.FilterOpt
}

type lister interface {
	VolumeList(ctx context.Context, options volume.ListOptions) (volume.ListResponse, error)
}

func newList(env *cmdenv.Env) *cobra.Command {
	o := &listOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List volumes",
		Args:    cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.format == "" && !o.quiet {
				o.format = env.Config().VolumesFormat
			}
			api, err := env.Client(cmd.Context())
			if err != nil {
				return err
			}
			return runList(cmd.Context(), api, env.Out, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only display volume names")
	flags.StringVar(&o.format, "format", "", render.FormatHelp)
	flags.VarP(&o.filter, "filter", "f", `Provide filter values (e.g. "dangling=true")`)
	return cmd
}

// volumeContext is a row of the list, named as in Docker because errors in
// templates show the name.
type volumeContext struct {
	Availability, Driver, Group, Labels, Links, Mountpoint, Name, Scope, Size, Status string

	labels map[string]string
}

// Label gives the value of one label.
func (r *volumeContext) Label(name string) string { return r.labels[name] }

func runList(ctx context.Context, api lister, out io.Writer, o *listOptions) error {
	list, err := api.VolumeList(ctx, volume.ListOptions{Filters: o.filter.Value()})
	if err != nil {
		return err
	}
	slices.SortStableFunc(list.Volumes, func(a, b *volume.Volume) int { return render.CompareNatural(a.Name, b.Name) })
	rows := make([]*volumeContext, 0, len(list.Volumes))
	for _, v := range list.Volumes {
		rows = append(rows, row(v))
	}
	return listing().Write(out, o.format, o.quiet, rows)
}

func row(v *volume.Volume) *volumeContext {
	const unknown = "N/A"
	r := &volumeContext{
		Availability: unknown,
		Driver:       v.Driver,
		Group:        unknown,
		Labels:       render.Labels(v.Labels),
		Links:        unknown,
		Mountpoint:   v.Mountpoint,
		Name:         v.Name,
		Scope:        v.Scope,
		Size:         unknown,
		Status:       unknown,
		labels:       v.Labels,
	}
	if u := v.UsageData; u != nil {
		r.Links, r.Size = strconv.FormatInt(u.RefCount, 10), units.HumanSize(float64(u.Size))
	}
	if c := v.ClusterVolume; c != nil {
		r.Group, r.Availability, r.Status = c.Spec.Group, string(c.Spec.Availability), clusterStatus(c)
	}
	return r
}

func clusterStatus(c *volume.ClusterVolume) string {
	switch nodes := len(c.PublishStatus); {
	case c.Info == nil || c.Info.VolumeID == "":
		return "pending creation"
	case nodes == 0:
		return "created"
	case nodes == 1:
		return "in use (1 node)"
	default:
		return fmt.Sprintf("in use (%d nodes)", nodes)
	}
}

func listing() render.List[*volumeContext] {
	return render.List[*volumeContext]{
		Headers: render.Headers{
			"Name": "VOLUME NAME", "Group": "GROUP", "Driver": "DRIVER", "Scope": "SCOPE", "Availability": "AVAILABILITY",
			"Mountpoint": "MOUNTPOINT", "Labels": "LABELS", "Links": "LINKS", "Size": "SIZE", "Status": "STATUS",
		},
		Table:    `{{.Driver}}\t{{.Name}}`,
		Quiet:    "{{.Name}}",
		RawQuiet: `name: {{.Name}}`,
		Raw:      `name: {{.Name}}\ndriver: {{.Driver}}\n`,
	}
}
