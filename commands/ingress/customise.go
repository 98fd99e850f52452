package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/docker/cli/opts"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/guarded"
	"weft/commands/ipam"
	"weft/wizard"
	flow "weft/wizard/flows/ingress"
)

type customiseOptions struct {
	guarded.Options

	name       string
	addresses  ipam.Options
	mtu        int
	driverOpts opts.MapOpts
	labels     opts.ListOpts
	ipv4, ipv6 *bool // nil: as it is
	strategy   string
	dryRun     bool
	plan       string // file to write it to
}

func newCustomise(env *cmdenv.Env, hook func(*customiseOptions) error) *cobra.Command {
	o := &customiseOptions{addresses: ipam.NewOptions(), driverOpts: *opts.NewMapOpts(nil, nil), labels: opts.NewListOpts(opts.ValidateLabel)}
	var ipv4, ipv6 bool
	cmd := &cobra.Command{
		Use:     "customise [OPTIONS]",
		Aliases: []string{"customize"},
		Short:   "Replace the ingress network, with a plan, checks and a way back",
		Long: "Replace the ingress network by one with other addresses, options or name. What no flag\n" +
			"names stays as it is. The plan is shown first; nothing is changed until it is agreed to.",
		Args: cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("ipv4") {
				o.ipv4 = &ipv4
			}
			if cmd.Flags().Changed("ipv6") {
				o.ipv6 = &ipv6
			}
			if hook != nil {
				return hook(o)
			}
			return runCustomise(cmd.Context(), env, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	flags.StringVar(&o.name, "name", "", "Name of the new network")
	o.addresses.BindAddresses(flags)
	flags.IntVar(&o.mtu, "mtu", 0, "MTU inside the network, in bytes")
	flags.VarP(&o.driverOpts, "opt", "o", "Set driver specific options")
	flags.Var(&o.labels, "label", "Set metadata on the network")
	flags.BoolVar(&ipv4, "ipv4", true, "Enable or disable IPv4 address assignment")
	flags.BoolVar(&ipv6, "ipv6", false, "Enable or disable IPv6 address assignment")
	flags.StringVar(&o.strategy, "strategy", string(flow.Detach), "How published ports are taken off: detach (services go on), scale-to-zero (tasks are replaced once)")
	flags.BoolVar(&o.dryRun, "dry-run", false, "Show the plan and change nothing")
	flags.StringVar(&o.plan, "plan", "", "Write the plan to this file for `weft workflow apply`, and change nothing")
	o.Bind(flags)
	_ = cmd.RegisterFlagCompletionFunc("strategy", complete.Words(string(flow.Detach), string(flow.ScaleToZero)))
	return cmd
}

func runCustomise(ctx context.Context, env *cmdenv.Env, o *customiseOptions) error {
	answers, err := o.answers()
	if err != nil {
		return err
	}
	s, err := guarded.Open(ctx, env, &o.Options)
	if err != nil {
		return err
	}
	f, err := s.Flow(flow.Flow)
	if err != nil {
		return err
	}
	draft, err := f.Plan(ctx, answers)
	if err != nil {
		return err
	}
	if o.dryRun || o.plan != "" {
		return preview(s, &draft.Plan, o.plan)
	}
	return s.Carry(ctx, f, draft)
}

// answers gives the options of the workflow, and finds what is wrong in
// themselves.
func (o *customiseOptions) answers() (json.RawMessage, error) {
	addresses, err := o.addresses.Request()
	if err != nil {
		return nil, err
	}
	out := flow.Options{
		Name: o.name, MTU: o.mtu, Opts: o.driverOpts.GetAll(), Labels: opts.ConvertKVStringsToMap(o.labels.GetSlice()),
		IPv4: o.ipv4, IPv6: o.ipv6, Strategy: flow.Strategy(o.strategy),
	}
	for _, c := range addresses.Config {
		out.Pools = append(out.Pools, flow.Pool{Subnet: c.Subnet, IPRange: c.IPRange, Gateway: c.Gateway, AuxAddress: c.AuxAddress})
	}
	text, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write answers: %w", err)
	}
	_, err = flow.ParseOptions(text)
	return text, err
}

// preview shows a plan, and writes it to path if there is one. A plan that
// can't be carried out has its exit code, and is no file.
func preview(s *guarded.Session, p *wizard.Plan, path string) error {
	if err := s.Show(p); err != nil {
		return err
	}
	if err := guarded.Refusal(p); err != nil || path == "" {
		return err
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o644) //nolint:gosec // to be reviewed by others; no secrets in it
	if err != nil {
		return err
	}
	_, err = f.Write(append(text, '\n'))
	return errors.Join(err, f.Close())
}
