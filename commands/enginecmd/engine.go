// Package enginecmd is `weft engine`: starting, watching and stopping the
// built-in engine on this machine.
//
// It owns no engine state. Whether an engine runs is asked of the run
// directory, what it does of its API; `start` and systemd learn that it is
// ready the same way, by sd_notify(3)'s READY=1.
package enginecmd

import (
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

// New gives the `engine` command. self is the path of the running binary,
// which the engine starts again for shims.
func New(env *cmdenv.Env, self string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "engine",
		Short: "Run the built-in overlay engine",
		Long: "Run the built-in overlay engine: a node of a Docker-compatible swarm that needs no dockerd.\n" +
			"It serves the Docker Engine API on a unix socket, for weft, the docker CLI and any other client.\n" +
			"An ordinary user's engine runs in a user namespace, with its directories below $XDG_DATA_HOME and\n" +
			"$XDG_RUNTIME_DIR; see \"Without root\" in the README for what that can't do.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newStart(env, self), newRun(env, self), newStatus(env),
		newStop(env), newLogs(env), newUnit(env, self),
	)
	return cmd
}

// addRunDir binds the flag by which every subcommand finds its engine.
func addRunDir(cmd *cobra.Command, env *cmdenv.Env, dir *string) {
	cmd.Flags().StringVar(dir, "run-dir", env.Dirs.Run, "Directory of the engine's socket and namespaces")
}

func addDataDir(cmd *cobra.Command, env *cmdenv.Env, dir *string) {
	cmd.Flags().StringVar(dir, "data-dir", env.Dirs.Data, "Directory of the state that survives a reboot")
}
