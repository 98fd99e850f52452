package service

import (
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/commands/complete"
)

// New gives the `service` command.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "service",
		Short: "Manage Swarm services",
		Args:  cmdenv.NoArgs,
		RunE:  env.ShowHelp,

		Annotations: map[string]string{cmdenv.SwarmAnnotation: ""},
	}
	cmd.AddCommand(
		newCreateCommand(env, nil),
		newInspectCommand(env, nil),
		newListCommand(env, nil),
		newLogsCommand(env, nil),
		newPsCommand(env, nil),
		newRemoveCommand(env, nil),
		newRollbackCommand(env, nil),
		newScaleCommand(env, nil),
		newUpdateCommand(env, nil),
	)
	return cmd
}

// completeShared offers the values of the flags create and update share.
func completeShared(cmd *cobra.Command) {
	complete.Flag(cmd, flagEndpointMode, complete.Words("vip", "dnsrr"))
	complete.Flag(cmd, flagRestartCondition, complete.Words("none", "on-failure", "any"))
	complete.Flag(cmd, flagUpdateOrder, complete.Words("start-first", "stop-first"))
	complete.Flag(cmd, flagUpdateFailureAction, complete.Words("pause", "continue", "rollback"))
	complete.Flag(cmd, flagRollbackOrder, complete.Words("start-first", "stop-first"))
	complete.Flag(cmd, flagRollbackFailureAction, complete.Words("pause", "continue"))
}
