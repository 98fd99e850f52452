package workflow

import (
	"context"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
)

// newAgain makes the verbs that take up an open run.
func newAgain(env *cmdenv.Env, verb, short string, do func(*guarded.Session, context.Context, string) error) *cobra.Command {
	o := &guarded.Options{}
	cmd := &cobra.Command{
		Use:   verb + " [OPTIONS] RUN",
		Short: short,
		Args:  cmdenv.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := load(guarded.Store(env), args[0])
			if err != nil {
				return err
			}
			s, err := guarded.Open(cmd.Context(), env, o)
			if err != nil {
				return err
			}
			return do(s, cmd.Context(), r.ID)
		},
		ValidArgsFunction: complete(env),
	}
	o.BindRun(cmd.Flags())
	return cmd
}
