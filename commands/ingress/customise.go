package ingress

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/guarded"
	flow "weft/wizard/flows/ingress"
)

type customiseOptions struct {
	guarded.Options
	guarded.Preview
	networkOptions

	strategy string
}

func newCustomise(env *cmdenv.Env) *cobra.Command {
	o := &customiseOptions{networkOptions: newNetworkOptions()}
	cmd := &cobra.Command{
		Use:     "customise [OPTIONS]",
		Aliases: []string{"customize"},
		Short:   "Replace the ingress network, with a plan, checks and a way back",
		Long: "Replace the ingress network by one with other addresses, options or name. What no flag\n" +
			"names stays as it is. The plan is shown first; nothing is changed until it is agreed to.\n\n" +
			"On a terminal and without flags a wizard asks for all this." + guarded.ExitCodes,
		Args: cmdenv.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Leads(env, cmd.Flags()) {
				return leadCustomise(cmd.Context(), env, o)
			}
			return runCustomise(cmd.Context(), env, o)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	flags := cmd.Flags()
	o.bindAnswers(flags)
	o.Preview.Bind(flags)
	o.Options.Bind(flags)
	o.BindLead(flags)
	_ = cmd.RegisterFlagCompletionFunc("strategy", complete.Words(string(flow.Detach), string(flow.ScaleToZero)))
	return cmd
}

// bindAnswers adds the flags that say what is to be done.
func (o *customiseOptions) bindAnswers(flags *pflag.FlagSet) {
	o.networkOptions.bind(flags)
	flags.StringVar(&o.strategy, "strategy", string(flow.Detach), "How published ports are taken off: detach (services go on), scale-to-zero (tasks are replaced once)")
}

func runCustomise(ctx context.Context, env *cmdenv.Env, o *customiseOptions) error {
	answers, err := o.answers(flow.Strategy(o.strategy))
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
	return o.Preview.Carry(ctx, s, f, draft)
}
