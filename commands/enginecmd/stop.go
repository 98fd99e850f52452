package enginecmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine"
)

func newStop(env *cmdenv.Env) *cobra.Command {
	var runDir string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "stop [OPTIONS]",
		Short: "Stop the engine, its containers and its networks",
		Long: "Stop the engine: its containers get their stop signal, every namespace and link it made is removed.\n" +
			"Membership of the swarm is kept; `weft swarm leave` ends that.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			stopped, err := engine.Stop(ctx, runDir)
			if err != nil {
				return err
			}
			text := "The engine has stopped."
			if !stopped {
				text = "No engine runs with --run-dir " + runDir + "."
			}
			_, err = fmt.Fprintln(env.Out, text)
			return err
		},
	}
	addRunDir(cmd, env, &runDir)
	cmd.Flags().DurationVar(&timeout, "timeout", 2*time.Minute, "How long to wait until it has")
	return cmd
}
