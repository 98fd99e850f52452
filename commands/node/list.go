package node

import (
	"context"
	"io"
	"reflect"
	"slices"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/system"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/render"
)

type listOptions struct {
	quiet  bool
	format string
	filter opts.FilterOpt
}

func newList(env *cmdenv.Env, hook func(*listOptions) error) *cobra.Command {
	o := &listOptions{filter: opts.NewFilterOpt()}
	cmd := &cobra.Command{
		Use:     "ls [OPTIONS]",
		Aliases: []string{"list"},
		Short:   "List nodes in the swarm",
		Args:    cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if hook != nil {
				return hook(o)
			}
			if o.format == "" && !o.quiet {
				o.format = env.Config().NodesFormat
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
	flags.BoolVarP(&o.quiet, "quiet", "q", false, "Only display IDs")
	flags.StringVar(&o.format, "format", "", render.FormatHelp)
	flags.VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	return cmd
}

// nodeContext is a row of the list, named as in Docker because errors in
// templates show the name.
type nodeContext struct {
	Availability, EngineVersion, Hostname, ID, ManagerStatus, Status, TLSStatus string

	Self bool
}

func runList(ctx context.Context, api lister, out io.Writer, o *listOptions) error {
	nodes, err := api.NodeList(ctx, swarm.NodeListOptions{Filters: o.filter.Value()})
	if err != nil {
		return err
	}
	var info system.Info
	if len(nodes) > 0 && !o.quiet {
		if info, err = api.Info(ctx); err != nil {
			return err
		}
	}
	slices.SortStableFunc(nodes, func(a, b swarm.Node) int {
		return render.CompareNatural(a.Description.Hostname, b.Description.Hostname)
	})
	rows := make([]*nodeContext, 0, len(nodes))
	for _, n := range nodes {
		rows = append(rows, newRow(n, info))
	}
	return listing().Write(out, o.format, o.quiet, rows)
}

func newRow(n swarm.Node, info system.Info) *nodeContext {
	r := &nodeContext{
		Availability:  render.Capital(string(n.Spec.Availability)),
		EngineVersion: n.Description.Engine.EngineVersion,
		Hostname:      n.Description.Hostname,
		ID:            n.ID,
		Status:        render.Capital(string(n.Status.State)),
		TLSStatus:     tlsStatus(n, info.Swarm.Cluster),
		Self:          n.ID == info.Swarm.NodeID,
	}
	if n.ManagerStatus != nil {
		r.ManagerStatus = render.Capital(string(n.ManagerStatus.Reachability))
		if n.ManagerStatus.Leader {
			r.ManagerStatus = "Leader"
		}
	}
	return r
}

// tlsStatus says whether a node trusts the cluster's present root CA.
func tlsStatus(n swarm.Node, cluster *swarm.ClusterInfo) string {
	var none swarm.TLSInfo
	switch {
	case cluster == nil, reflect.DeepEqual(cluster.TLSInfo, none), reflect.DeepEqual(n.Description.TLSInfo, none):
		return "Unknown"
	case reflect.DeepEqual(n.Description.TLSInfo, cluster.TLSInfo):
		return "Ready"
	default:
		return "Needs Rotation"
	}
}

func listing() render.List[*nodeContext] {
	return render.List[*nodeContext]{
		Headers: render.Headers{
			"ID": "ID", "Self": "", "Hostname": "HOSTNAME", "Status": "STATUS", "Availability": "AVAILABILITY",
			"ManagerStatus": "MANAGER STATUS", "EngineVersion": "ENGINE VERSION", "TLSStatus": "TLS STATUS",
		},
		Table:    `{{.ID}} {{if .Self}}*{{else}} {{ end }}\t{{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}\t{{.EngineVersion}}`,
		RawQuiet: `node_id: {{.ID}}`,
		Raw:      `node_id: {{.ID}}\nhostname: {{.Hostname}}\nstatus: {{.Status}}\navailability: {{.Availability}}\nmanager_status: {{.ManagerStatus}}\n`,
	}
}
