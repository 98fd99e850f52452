// Package mesh holds `weft mesh`: what answers at a published port, where, and
// why, by what the kernels of the hosts have. It needs weft's own engine.
package mesh

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"

	"github.com/docker/docker/api/types/swarm"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/model"
)

// New makes `weft mesh` and its verbs.
func New(env *cmdenv.Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mesh",
		Short: "Look into the routing mesh",
		Args:  cmdenv.NoArgs,
		RunE:  env.ShowHelp,
	}
	cmd.AddCommand(newInspect(env), newList(env), newTrace(env))
	return cmd
}

// seen is the mesh as one node sees it, and what the nodes are called.
type seen struct {
	model.MeshStatus

	api   *cmdenv.Raw
	names map[netip.Addr]string
}

// look asks the engine.
func look(ctx context.Context, env *cmdenv.Env) (*seen, error) {
	api, err := env.Weft(ctx, "details of the routing mesh")
	if err != nil {
		return nil, err
	}
	s := &seen{api: api, names: map[netip.Addr]string{}}
	if err := get(ctx, api, "/mesh", nil, &s.MeshStatus); err != nil {
		return nil, err
	}
	s.nameNodes(ctx, env)
	return s, nil
}

func get(ctx context.Context, api *cmdenv.Raw, route string, query url.Values, into any) error {
	answer, err := api.Do(ctx, http.MethodGet, route, query, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("read the engine's answer: %w", err)
	}
	return nil
}

// nameNodes finds the nodes' names, which managers know; elsewhere nodes go by
// their addresses.
func (s *seen) nameNodes(ctx context.Context, env *cmdenv.Env) {
	client, err := env.Client(ctx)
	if err != nil {
		return
	}
	info, err := client.Info(ctx)
	if err != nil || !info.Swarm.ControlAvailable {
		return
	}
	nodes, err := client.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return
	}
	for _, n := range nodes {
		if a, err := netip.ParseAddr(n.Status.Addr); err == nil {
			s.names[a.Unmap()] = n.Description.Hostname
		}
	}
	for _, n := range s.Nodes { // the data path may have addresses of its own
		if name, ok := s.names[n.Addr]; ok && n.Report != nil {
			s.names[n.Report.DataPath] = name
		}
	}
}

// node names a node for people.
func (s *seen) node(a netip.Addr) string {
	if name, ok := s.names[a]; ok {
		return name
	}
	if !a.IsValid() {
		return "an unknown node"
	}
	return a.String()
}

// answer is whether a host answers at a port.
type answer string

// The answers; templates and JSON show the strings.
const (
	answers answer = "yes"
	bound   answer = "bound elsewhere" // as it was asked for
	wrong   answer = "no"
	unknown answer = "unknown"
)

// at says whether a node answers at a port, and if not why.
func at(n model.MeshNode, port string) (answer, string) {
	if n.Report == nil {
		return unknown, "it says nothing, as Docker's nodes do and those that have just begun"
	}
	if n.Late {
		return unknown, "it was asked and does not say how its kernel is: its engine has stopped or hangs, or the host is cut off"
	}
	for _, p := range n.Report.Problems {
		switch {
		case p.Port != port && p.Port != "":
		case p.Kind == model.ProblemBound:
			return bound, p.What
		default:
			return wrong, p.What
		}
	}
	if n.Report.More > 0 {
		return unknown, fmt.Sprintf("it has %d more problems than it could tell: ask it, with `weft --host … mesh ls`", n.Report.More)
	}
	return answers, ""
}

func portName(p model.MeshPort) string { return fmt.Sprintf("%d/%s", p.Published, p.Proto) }
