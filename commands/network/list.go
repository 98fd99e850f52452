package network

import (
	"context"
	"io"
	"slices"
	"strconv"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/network"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

type listOptions struct {
	quiet   bool
	noTrunc bool
	format  string
	filter  opts.FilterOpt
}

type lister interface {
	NetworkList(ctx context.Context, options network.ListOptions) ([]network.Summary, error)
}

func newList(env *cmdenv.Env, hook func(*listOptions) error) *cobra.Command {
	o := &listOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List networks",
		Args:    cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			if o.format == "" && !o.quiet {
				o.format = env.Config().NetworksFormat
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
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only display network IDs")
	flags.BoolVar(&o.noTrunc, "no-trunc", false, "Do not truncate the output")
	flags.StringVar(&o.format, "format", "", render.FormatHelp)
	flags.VarP(&o.filter, "filter", "f", `Provide filter values (e.g. "driver=bridge")`)
	return cmd
}

// networkContext is a row of the list, named as in Docker because errors in
// templates show the name.
type networkContext struct {
	CreatedAt, Driver, ID, IPv4, IPv6, Internal, Labels, Name, Scope string

	labels map[string]string
}

// Label gives the value of one label.
func (r *networkContext) Label(name string) string { return r.labels[name] }

func runList(ctx context.Context, api lister, out io.Writer, o *listOptions) error {
	networks, err := api.NetworkList(ctx, network.ListOptions{Filters: o.filter.Value()})
	if err != nil {
		return err
	}
	slices.SortStableFunc(networks, func(a, b network.Summary) int { return render.CompareNatural(a.Name, b.Name) })
	rows := make([]*networkContext, 0, len(networks))
	for _, n := range networks {
		rows = append(rows, &networkContext{
			CreatedAt: n.Created.String(),
			Driver:    n.Driver,
			ID:        render.ID(n.ID, o.noTrunc),
			IPv4:      strconv.FormatBool(n.EnableIPv4),
			IPv6:      strconv.FormatBool(n.EnableIPv6),
			Internal:  strconv.FormatBool(n.Internal),
			Labels:    render.Labels(n.Labels),
			Name:      n.Name,
			Scope:     n.Scope,
			labels:    n.Labels,
		})
	}
	return listing().Write(out, o.format, o.quiet, rows)
}

func listing() render.List[*networkContext] {
	return render.List[*networkContext]{
		Headers: render.Headers{
			"ID": "NETWORK ID", "Name": "NAME", "Driver": "DRIVER", "Scope": "SCOPE", "IPv4": "IPV4", "IPv6": "IPV6",
			"Internal": "INTERNAL", "Labels": "LABELS", "CreatedAt": "CREATED AT",
		},
		Table:    `{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}`,
		RawQuiet: `network_id: {{.ID}}`,
		Raw:      `network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n`,
	}
}
