package cmdenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Config is what weft uses of Docker's client configuration file.
type Config struct {
	CurrentContext string            `json:"currentContext"`
	HTTPHeaders    map[string]string `json:"HttpHeaders"`
	DetachKeys     string            `json:"detachKeys"`
	PruneFilters   []string          `json:"pruneFilters"`

	// Formats of listings without --format.
	ContainersFormat string `json:"psFormat"`
	ImagesFormat     string `json:"imagesFormat"`
	NetworksFormat   string `json:"networksFormat"`
	StatsFormat      string `json:"statsFormat"`
	VolumesFormat    string `json:"volumesFormat"`
	ServicesFormat   string `json:"servicesFormat"`
	TasksFormat      string `json:"tasksFormat"`
	NodesFormat      string `json:"nodesFormat"`

	// ServiceInspectFormat is that of `service inspect`, NodeInspectFormat that
	// of `node inspect`.
	ServiceInspectFormat string `json:"serviceInspectFormat"`
	NodeInspectFormat    string `json:"nodeInspectFormat"`
}

// ConfigDir gives the directory of Docker's client configuration: --config,
// DOCKER_CONFIG or ~/.docker.
func (e *Env) ConfigDir() string {
	if e.opts.configDir != "" {
		return e.opts.configDir
	}
	return defaultConfigDir(e.Getenv)
}

func defaultConfigDir(getenv func(string) string) string {
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		return dir
	}
	home := getenv("HOME")
	if home == "" {
		if dir, err := os.UserHomeDir(); err == nil {
			home = dir
		}
	}
	return filepath.Join(home, ".docker")
}

// Config reads Docker's client configuration once. A file that cannot be read
// is a warning on Err and an empty configuration, as with Docker.
func (e *Env) Config() *Config {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.configLocked()
}

func (e *Env) configLocked() *Config {
	if e.config != nil {
		return e.config
	}
	e.config = &Config{}
	path := filepath.Join(e.ConfigDir(), "config.json")
	data, err := os.ReadFile(path) //nolint:gosec // the user names the directory
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return e.config
	case err == nil:
		err = json.Unmarshal(data, e.config)
	}
	if err != nil {
		fmt.Fprintf(e.Err, "WARNING: Error loading config file: %s: %v\n", path, err)
		e.config = &Config{}
	}
	return e.config
}
