package swarm

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/swarm"
)

// printer writes instructions that name this program.
type printer struct {
	out     io.Writer
	program string
}

// joinCommands tells how to add nodes of these roles through a manager. It
// says nothing if the node is none.
func (p printer) joinCommands(ctx context.Context, api clusterAPI, nodeID string, roles ...string) error {
	n, _, err := api.NodeInspectWithRaw(ctx, nodeID)
	if err != nil {
		return err
	}
	s, err := api.SwarmInspect(ctx)
	if err != nil {
		return err
	}
	if n.ManagerStatus == nil {
		return nil
	}
	for _, role := range roles {
		fmt.Fprintf(p.out, "To add a %s to this swarm, run the following command:\n\n    %s swarm join --token %s %s\n\n",
			role, p.program, token(s, role), n.ManagerStatus.Addr)
	}
	return nil
}

func token(s swarm.Swarm, role string) string {
	if role == "manager" {
		return s.JoinTokens.Manager
	}
	return s.JoinTokens.Worker
}

// fetchUnlockKey prints the key that unlocks a restarted manager.
func (p printer) fetchUnlockKey(ctx context.Context, api clusterAPI) error {
	answer, err := api.SwarmGetUnlockKey(ctx)
	if err != nil {
		return fmt.Errorf("could not fetch unlock key: %w", err)
	}
	p.unlockCommand(answer.UnlockKey)
	return nil
}

func (p printer) unlockCommand(key string) {
	if key == "" {
		return
	}
	fmt.Fprintf(p.out, "To unlock a swarm manager after it restarts, run the `%s swarm unlock`\n"+
		"command and provide the following key:\n\n    %s\n\n"+
		"Remember to store this key in a password manager, since without it you\n"+
		"will not be able to restart the manager.\n", p.program, key)
}

var errNoUnlockKey = errors.New("no unlock key is set")
