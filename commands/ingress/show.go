package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"weft/commands/cluster"
	"weft/commands/cmdenv"
	"weft/wizard"
	flow "weft/wizard/flows/ingress"
)

func newShow(env *cmdenv.Env) *cobra.Command {
	return &cobra.Command{
		Use:   "show",
		Short: "Explain the present state of the ingress network",
		Args:  cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			api, err := env.Raw(cmd.Context())
			if err != nil {
				return err
			}
			return runShow(cmd.Context(), env.Out, &cluster.Manager{API: api, Timeout: cluster.RequestTimeout})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
}

func runShow(ctx context.Context, out io.Writer, m *cluster.Manager) error {
	w, err := m.Observe(ctx)
	if err != nil {
		return err
	}
	if !w.Manager {
		return errors.New("this node is not a manager of a swarm: run this against one, with --host or --context")
	}
	now, err := m.Ingress(ctx)
	if err != nil {
		return err
	}
	holder, err := (&cluster.Lock{Manager: m}).Holder(ctx)
	if err != nil {
		return err
	}
	var b strings.Builder
	describe(&b, now, &w)
	if err := describeServices(&b, now, &w); err != nil {
		return err
	}
	describeLock(&b, holder)
	_, err = io.WriteString(out, b.String())
	return err
}

func describe(b *strings.Builder, n *flow.Network, w *flow.World) {
	if n == nil {
		b.WriteString("There is no ingress network: published ports answer nowhere.\nCreate one with `weft ingress repair`, which also puts back ports that were taken off for it.\n")
		return
	}
	fmt.Fprintf(b, "Network:   %s (%.12s)\n", n.Spec.Name, n.ID)
	for _, p := range n.Spec.IPAM.Config {
		fmt.Fprintf(b, "Subnet:    %s", p.Subnet)
		if p.Gateway != "" {
			fmt.Fprintf(b, ", gateway %s", p.Gateway)
		}
		b.WriteString("\n")
	}
	if mtu := n.Spec.Options[flow.MTUOption]; mtu != "" {
		fmt.Fprintf(b, "MTU:       %s\n", mtu)
	}
	for _, node := range w.Nodes {
		state := "has joined it"
		if !n.Joined(node) {
			state = "has not joined it; `weft ingress repair` has it join"
		}
		if !node.Ready() {
			state = "is " + node.State
		}
		fmt.Fprintf(b, "Node:      %s %s\n", node.Hostname, state)
	}
}

func describeServices(b *strings.Builder, n *flow.Network, w *flow.World) error {
	slices.SortFunc(w.Services, func(a, b flow.Service) int { return strings.Compare(a.Name, b.Name) })
	for _, svc := range w.Services {
		published, err := flow.Published(svc.Spec)
		if err != nil {
			return fmt.Errorf("service %s: %w", svc.Name, err)
		}
		if len(published) > 0 {
			fmt.Fprintf(b, "Service:   %s publishes %s\n", svc.Name, flow.Words(published))
		}
	}
	if n == nil {
		return nil
	}
	for _, h := range w.Holdings(n.ID) {
		fmt.Fprintf(b, "Endpoints: %s\n", h)
	}
	return nil
}

func describeLock(b *strings.Builder, h *wizard.Holder) {
	if h == nil {
		return
	}
	fmt.Fprintf(b, "Workflow:  run %s (%s) by %s on %s, since %s, has the lock of the cluster\n", h.Run, h.Flow, h.User, h.Host, h.Since)
}
