package control

import (
	"context"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/daemon/cluster/convert"
	"github.com/moby/swarmkit/v2/api"
)

// Configs lists with Docker's config filters.
func (n *Node) Configs(ctx context.Context, f filters.Args) ([]swarm.Config, error) {
	out := []swarm.Config{}
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		conv, err := configFilters(f)
		if err != nil {
			return err
		}
		configs, err := listConfigs(ctx, c, conv)
		for _, cfg := range configs {
			out = append(out, convert.ConfigFromGRPC(cfg))
		}
		return err
	})
	return out, err
}

// Config gives the config with this ID, name or prefix of an ID.
func (n *Node) Config(ctx context.Context, idOrName string) (swarm.Config, error) {
	var out swarm.Config
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		cfg, err := findConfig(ctx, c, idOrName)
		if err == nil {
			out = convert.ConfigFromGRPC(cfg)
		}
		return err
	})
	return out, err
}

// CreateConfig creates a config and gives its ID. Of several at once with one
// name, one succeeds and the others fail as a Conflict, on whichever managers
// they are created: the name may serve as a lock of the cluster.
func (n *Node) CreateConfig(ctx context.Context, spec swarm.ConfigSpec) (string, error) {
	var id string
	err := n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		conv := convert.ConfigSpecToGRPC(spec)
		r, err := c.CreateConfig(ctx, &api.CreateConfigRequest{Spec: &conv})
		if err == nil {
			id = r.Config.ID
		}
		return err
	})
	return id, err
}

// UpdateConfig replaces a config's labels, if version is its current one;
// nothing else of a config can change.
func (n *Node) UpdateConfig(ctx context.Context, idOrName string, version uint64, spec swarm.ConfigSpec) error {
	return n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		cfg, err := findConfig(ctx, c, idOrName)
		if err != nil {
			return err
		}
		conv := convert.ConfigSpecToGRPC(spec)
		_, err = c.UpdateConfig(ctx, &api.UpdateConfigRequest{
			ConfigID: cfg.ID, ConfigVersion: &api.Version{Index: version}, Spec: &conv,
		})
		return err
	})
}

// RemoveConfig removes a config no service refers to.
func (n *Node) RemoveConfig(ctx context.Context, idOrName string) error {
	return n.ask(ctx, func(ctx context.Context, c api.ControlClient) error {
		cfg, err := findConfig(ctx, c, idOrName)
		if err != nil {
			return err
		}
		_, err = c.RemoveConfig(ctx, &api.RemoveConfigRequest{ConfigID: cfg.ID})
		return err
	})
}
