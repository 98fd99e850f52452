package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/docker/docker/api/types/swarm"
)

// stateFile and the JSON of startConfig are dockerd's.
const stateFile = "docker-state.json"

// startConfig is what a SwarmKit node is started with. The exported fields
// outlive the engine.
type startConfig struct {
	LocalAddr          string
	RemoteAddr         string // the manager Join was given
	ListenAddr         string // with port
	AdvertiseAddr      string // with port; empty when managers find out by themselves
	DataPathAddr       string
	DefaultAddressPool []string
	SubnetSize         uint32
	DataPathPort       uint32
	JoinInProgress     bool

	joinAddr        string
	joinToken       string
	forceNewCluster bool
	autolock        bool
	unlockKey       []byte
	availability    swarm.NodeAvailability
}

// loadState reads the membership of the last run. found is false when there
// is none; what an interrupted Init or Join left behind is wiped then.
func loadState(dir string) (conf startConfig, found bool, err error) {
	raw, err := os.ReadFile(filepath.Join(dir, stateFile)) //nolint:gosec // the engine's own directory
	if errors.Is(err, fs.ErrNotExist) {
		return startConfig{}, false, nil
	}
	if err != nil {
		return startConfig{}, false, err
	}
	_, err = os.Stat(filepath.Join(dir, "certificates", "swarm-node.crt"))
	if errors.Is(err, fs.ErrNotExist) {
		return startConfig{}, false, wipeState(dir)
	}
	if err != nil {
		return startConfig{}, false, err
	}
	if err := json.Unmarshal(raw, &conf); err != nil {
		return startConfig{}, false, fmt.Errorf("read swarm membership %s: %w", filepath.Join(dir, stateFile), err)
	}
	return conf, true, nil
}

func saveState(dir string, conf startConfig) error {
	raw, err := json.Marshal(conf)
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, stateFile+".tmp")
	if err := writeSynced(tmp, raw); err != nil {
		return fmt.Errorf("save swarm membership: %w", err)
	}
	return os.Rename(tmp, filepath.Join(dir, stateFile))
}

func writeSynced(path string, raw []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600) //nolint:gosec // the engine's own directory
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// wipeState empties dir and keeps the directory itself: it may be a mount.
func wipeState(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
