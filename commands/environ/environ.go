// Package environ puts together the environment of a container: variables
// from files, from flags and the proxies of Docker's client configuration.
package environ

import (
	"fmt"
	"slices"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/opts"
)

// Key is the variable's name in NAME=VALUE or NAME.
func Key(v string) string {
	name, _, _ := strings.Cut(v, "=")
	return name
}

// Join reads the files' variables and appends the given ones. Of several with
// one name the last counts; the order is otherwise kept. A NAME without a
// value takes this process's, or is left out if it has none.
func Join(files, given []string) ([]string, error) {
	all, err := opts.ReadKVEnvStrings(files, given)
	if err != nil {
		return nil, err
	}
	last := make(map[string]int, len(all))
	for i, v := range all {
		last[Key(v)] = i
	}
	out := make([]string, 0, len(last))
	for i, v := range all {
		if last[Key(v)] == i {
			out = append(out, v)
		}
	}
	return out, nil
}

// WithProxies adds the proxy variables that the configuration in configDir
// holds for the daemon at host, unless env has them.
func WithProxies(configDir, host string, env []string) ([]string, error) {
	cfg, err := config.Load(configDir)
	if err != nil {
		return nil, fmt.Errorf("read proxies: %w", err)
	}
	have := make(map[string]bool, len(env))
	for _, v := range env {
		have[Key(v)] = true
	}
	var added []string
	for name, value := range cfg.ParseProxyConfig(host, nil) {
		if value != nil && !have[name] {
			added = append(added, name+"="+*value)
		}
	}
	slices.Sort(added)
	return append(env, added...), nil
}
