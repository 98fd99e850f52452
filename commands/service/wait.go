package service

import (
	"context"
	"io"

	"weft/commands/cmdenv"
	"weft/commands/service/progress"
)

// waitAPI is what following a service's convergence asks of the daemon.
type waitAPI = progress.API

// waitConverged shows the service's progress until it has converged. Quiet
// waits without showing.
func waitConverged(ctx context.Context, env *cmdenv.Env, api waitAPI, serviceID string, quiet bool) error {
	out, columns := env.Out, env.Width()
	if quiet {
		out, columns = io.Discard, 0
	}
	w := progress.Watcher{API: api, Board: progress.NewBoard(out, columns), Now: env.Now, Program: cmdenv.Program}
	return w.Wait(ctx, serviceID)
}
