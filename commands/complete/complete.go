// Package complete gives the names a shell offers for an argument: networks,
// nodes, services, containers, images and volumes of the engine the command
// line names. It asks the engine at each completion and offers nothing if there
// is no answer; it prints nothing of its own.
package complete

import (
	"strings"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/api/types/volume"
	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
)

func offer(fetch func(cmd *cobra.Command) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		list, err := fetch(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		return without(list, args), cobra.ShellCompDirectiveNoFileComp
	}
}

// without leaves out what is on the command line already.
func without(list, used []string) []string {
	seen := make(map[string]bool, len(used))
	for _, name := range used {
		seen[name] = true
	}
	left := list[:0]
	for _, name := range list {
		if !seen[name] {
			left = append(left, name)
		}
	}
	return left
}

// Networks offers the names of networks.
func Networks(env *cmdenv.Env) cobra.CompletionFunc {
	return offer(func(cmd *cobra.Command) ([]string, error) {
		api, err := env.Client(cmd.Context())
		if err != nil {
			return nil, err
		}
		list, err := api.NetworkList(cmd.Context(), network.ListOptions{})
		if err != nil {
			return nil, err
		}
		found := make([]string, 0, len(list))
		for _, n := range list {
			found = append(found, n.Name)
		}
		return found, nil
	})
}

// Nodes offers the hostnames of nodes, and self.
func Nodes(env *cmdenv.Env) cobra.CompletionFunc {
	return offer(func(cmd *cobra.Command) ([]string, error) {
		api, err := env.Client(cmd.Context())
		if err != nil {
			return nil, err
		}
		list, err := api.NodeList(cmd.Context(), swarm.NodeListOptions{})
		if err != nil {
			return nil, err
		}
		found := make([]string, 0, len(list)+1)
		for _, n := range list {
			found = append(found, n.Description.Hostname)
		}
		return append(found, "self"), nil
	})
}

// Services offers the names of services.
func Services(env *cmdenv.Env) cobra.CompletionFunc {
	return offer(func(cmd *cobra.Command) ([]string, error) {
		api, err := env.Client(cmd.Context())
		if err != nil {
			return nil, err
		}
		list, err := api.ServiceList(cmd.Context(), swarm.ServiceListOptions{})
		if err != nil {
			return nil, err
		}
		found := make([]string, 0, len(list))
		for _, s := range list {
			found = append(found, s.Spec.Name)
		}
		return found, nil
	})
}

// Containers offers the names of containers, stopped ones too if all is set,
// that keep says yes to; a nil keep is yes to each.
func Containers(env *cmdenv.Env, all bool, keep func(container.Summary) bool) cobra.CompletionFunc {
	return offer(func(cmd *cobra.Command) ([]string, error) {
		api, err := env.Client(cmd.Context())
		if err != nil {
			return nil, err
		}
		list, err := api.ContainerList(cmd.Context(), container.ListOptions{All: all})
		if err != nil {
			return nil, err
		}
		var found []string
		for _, c := range list {
			if keep != nil && !keep(c) {
				continue
			}
			for _, name := range c.Names {
				if name = strings.TrimPrefix(name, "/"); !strings.Contains(name, "/") { // not a link's alias
					found = append(found, name)
				}
			}
		}
		return found, nil
	})
}

// Images offers the names of images.
func Images(env *cmdenv.Env) cobra.CompletionFunc {
	return offer(func(cmd *cobra.Command) ([]string, error) {
		api, err := env.Client(cmd.Context())
		if err != nil {
			return nil, err
		}
		list, err := api.ImageList(cmd.Context(), image.ListOptions{})
		if err != nil {
			return nil, err
		}
		var found []string
		for _, i := range list {
			found = append(found, i.RepoTags...)
		}
		return found, nil
	})
}

// Volumes offers the names of volumes.
func Volumes(env *cmdenv.Env) cobra.CompletionFunc {
	return offer(func(cmd *cobra.Command) ([]string, error) {
		api, err := env.Client(cmd.Context())
		if err != nil {
			return nil, err
		}
		list, err := api.VolumeList(cmd.Context(), volume.ListOptions{})
		if err != nil {
			return nil, err
		}
		found := make([]string, 0, len(list.Volumes))
		for _, v := range list.Volumes {
			found = append(found, v.Name)
		}
		return found, nil
	})
}

// Words offers fixed words.
func Words(list ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
}
