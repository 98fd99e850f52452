package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
	"weft/wizard"
	flow "weft/wizard/flows/ingress"
)

type repairOptions struct {
	guarded.Options
	guarded.Preview
	networkOptions

	skip []string
}

func newRepair(env *cmdenv.Env) *cobra.Command {
	o := &repairOptions{networkOptions: newNetworkOptions()}
	cmd := &cobra.Command{
		Use:   "repair [OPTIONS]",
		Short: "Finish a replacement of the ingress network that somebody has begun by hand",
		Long: "Look for what a half-done replacement of the ingress network leaves behind, and mend it: no\n" +
			"ingress network, nodes that have not joined it, services whose last update has taken off\n" +
			"their published ports or replicas, tasks that hold on to a network that is gone. The plan\n" +
			"is shown first; nothing is changed until it is agreed to.\n\n" +
			"The flags about the network say what it is to be like if there is none.\n\n" +
			"On a terminal and without flags a wizard asks for all this." + guarded.ExitCodes,
		Args:              cmdenv.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return runRepair(cmd, env, o) },
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	o.networkOptions.bind(flags)
	flags.StringArrayVar(&o.skip, "skip", nil, "Leave this service alone")
	o.Preview.Bind(flags)
	o.Options.Bind(flags)
	o.BindLead(flags)
	return cmd
}

func runRepair(cmd *cobra.Command, env *cmdenv.Env, o *repairOptions) error {
	ctx := cmd.Context()
	answers, err := o.repairAnswers()
	if err != nil {
		return err
	}
	s, err := guarded.Open(ctx, env, &o.Options)
	if err != nil {
		return err
	}
	f, err := s.Flow(flow.RepairFlow)
	if err != nil {
		return err
	}
	draft, err := f.Plan(ctx, answers)
	if nothing := (*wizard.NothingError)(nil); errors.As(err, &nothing) {
		_, err = fmt.Fprintln(env.Out, nothing)
		return err
	}
	if err != nil {
		return err
	}
	if o.Leads(env, cmd.Flags()) {
		return leadRepair(ctx, s)
	}
	return o.Preview.Carry(ctx, s, f, draft)
}

func (o *repairOptions) repairAnswers() (json.RawMessage, error) {
	text, err := o.answers(flow.Detach)
	if err != nil {
		return nil, err
	}
	out := flow.RepairOptions{Skip: o.skip}
	if err := json.Unmarshal(text, &out.Options); err != nil {
		return nil, fmt.Errorf("read answers: %w", err)
	}
	return json.Marshal(out)
}

// leadRepair leads through a repair, which has nothing to be asked.
func leadRepair(ctx context.Context, s *guarded.Session) error {
	return s.Lead(ctx, &guarded.Form{
		Title: "Repair the ingress network", Flow: flow.RepairFlow, Words: []string{"ingress", "repair"},
		Flags: func() (*pflag.FlagSet, func() (json.RawMessage, error)) {
			o := &repairOptions{networkOptions: newNetworkOptions()}
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			o.networkOptions.bind(flags)
			return flags, o.repairAnswers
		},
	})
}
