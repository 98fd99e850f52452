package workflow

import (
	"context"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
	"weft/wizard"
)

func newApply(env *cmdenv.Env) *cobra.Command {
	o := &guarded.Options{}
	cmd := &cobra.Command{
		Use:   "apply [OPTIONS] FILE",
		Short: "Carry out a plan that was kept as a file, if it still holds",
		Long: "Make the plan again and carry it out if it is the one that was kept. One that no longer holds is\n" +
			"refused." + guarded.ExitCodes,
		Args: cmdenv.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runApply(cmd.Context(), env, o, args[0])
		},
	}
	o.Bind(cmd.Flags())
	return cmd
}

func runApply(ctx context.Context, env *cmdenv.Env, o *guarded.Options, path string) error {
	text, err := os.ReadFile(path) //nolint:gosec // the user's own file
	if err != nil {
		return err
	}
	kept, err := wizard.ParsePlan(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	s, err := guarded.Open(ctx, env, o)
	if err != nil {
		return err
	}
	flow, err := s.Flow(kept.Flow)
	if err != nil {
		return err
	}
	draft, err := flow.Plan(ctx, kept.Answers)
	if err != nil {
		return err
	}
	if err := guarded.Compare(&kept, &draft.Plan); err != nil {
		return err
	}
	return s.Carry(ctx, flow, draft)
}
