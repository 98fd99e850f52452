package ingress

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/complete"
	"weft/commands/guarded"
	"weft/wizard"
	flow "weft/wizard/flows/ingress"
)

type customiseOptions struct {
	guarded.Options
	networkOptions

	strategy string
	dryRun   bool
	plan     string // file to write it to
}

func newCustomise(env *cmdenv.Env) *cobra.Command {
	o := &customiseOptions{networkOptions: newNetworkOptions()}
	cmd := &cobra.Command{
		Use:     "customise [OPTIONS]",
		Aliases: []string{"customize"},
		Short:   "Replace the ingress network, with a plan, checks and a way back",
		Long: "Replace the ingress network by one with other addresses, options or name. What no flag\n" +
			"names stays as it is. The plan is shown first; nothing is changed until it is agreed to.\n\n" +
			"On a terminal and without flags a wizard asks for all this.",
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
	flags.BoolVar(&o.dryRun, "dry-run", false, "Show the plan and change nothing")
	flags.StringVar(&o.plan, "plan", "", "Write the plan to this `file` for weft workflow apply, and change nothing")
	o.Bind(flags)
	o.BindLead(flags)
	_ = cmd.RegisterFlagCompletionFunc("strategy", complete.Words(string(flow.Detach), string(flow.ScaleToZero)))
	return cmd
}

// bindAnswers adds the flags that say what is to be done.
func (o *customiseOptions) bindAnswers(flags *pflag.FlagSet) {
	o.bind(flags)
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
	if o.dryRun || o.plan != "" {
		return preview(s, &draft.Plan, o.plan)
	}
	return s.Carry(ctx, f, draft)
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
