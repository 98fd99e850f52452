package enginecmd

import (
	"context"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine"
	"weft/engine/rootless"
)

func newRun(env *cmdenv.Env, self string) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run [OPTIONS]",
		Short: "Run the engine in the foreground",
		Long: "Run the engine in the foreground until it gets SIGINT or SIGTERM; it then stops its containers and\n" +
			"removes every namespace and link it made. Logs go to standard error.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rootless.Needed() {
				return runRootless(cmd.Context(), env, &o, self)
			}
			return runEngine(cmd.Context(), env, &o, self)
		},
	}
	o.bind(cmd, env)
	return cmd
}

func runEngine(ctx context.Context, env *cmdenv.Env, o *runOptions, self string) error {
	cfg, err := o.config()
	if err != nil {
		return err
	}
	cfg.Self, cfg.Version, cfg.Log, cfg.Now = self, cmdenv.Version, env.Log(), env.Now
	if outside, ok := rootless.Inside(env.Getenv); ok {
		cfg.Pid, cfg.AdvertiseAddr, cfg.OpenPort = outside.Pid, rootless.NodeLink, outside.Listen
	}
	e, err := engine.New(ctx, cfg)
	if err != nil {
		return err
	}
	return e.Run(ctx, func() {
		if err := notify(env.Getenv, "READY=1"); err != nil {
			env.Log().WarnContext(ctx, "readiness not reported", "err", err)
		}
	})
}
