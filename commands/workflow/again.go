package workflow

import (
	"context"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
)

// newResume makes `weft workflow resume`.
func newResume(env *cmdenv.Env) *cobra.Command {
	o := &guarded.Options{}
	cmd := newAgain(env, o, (*guarded.Session).Resume)
	cmd.Use, cmd.Short = "resume [OPTIONS] RUN", "Go on with an open run, in the direction it was going"
	cmd.Long = cmd.Short + "." + guarded.ExitCodes
	o.BindForward(cmd.Flags())
	return cmd
}

// newRollback makes `weft workflow rollback`.
func newRollback(env *cmdenv.Env) *cobra.Command {
	o := &guarded.Options{}
	cmd := newAgain(env, o, (*guarded.Session).Rollback)
	cmd.Use, cmd.Short = "rollback [OPTIONS] RUN", "Take an open run back"
	cmd.Long = cmd.Short + ". That it is taken back is what was asked for: 0." + guarded.ExitCodes
	o.BindBackward(cmd.Flags())
	return cmd
}

// newAbort makes `weft workflow abort`.
func newAbort(env *cmdenv.Env) *cobra.Command {
	o := &guarded.Options{}
	cmd := newAgain(env, o, (*guarded.Session).Abort)
	cmd.Use, cmd.Short = "abort [OPTIONS] RUN", "End an open run and leave everything as it is"
	o.BindEnd(cmd.Flags())
	return cmd
}

// newAgain is what the verbs that take up an open run have in common.
func newAgain(env *cmdenv.Env, o *guarded.Options, do func(*guarded.Session, context.Context, string) error) *cobra.Command {
	return &cobra.Command{
		Args: cmdenv.ExactArgs(1),
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
}
