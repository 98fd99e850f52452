package container

import (
	"fmt"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/pflag"
)

// loggingFlags are those that say where the container's output goes.
type loggingFlags struct {
	driver  string
	options opts.ListOpts
}

func newLoggingFlags() loggingFlags { return loggingFlags{options: opts.NewListOpts(nil)} }

func (f *loggingFlags) bind(set *pflag.FlagSet) {
	set.StringVar(&f.driver, "log-driver", "", "Logging driver for the container")
	set.Var(&f.options, "log-opt", "Log driver options")
}

func (f *loggingFlags) config() (container.LogConfig, error) {
	if f.driver == "none" && f.options.Len() > 0 {
		return container.LogConfig{}, fmt.Errorf("invalid logging opts for driver %s", f.driver)
	}
	return container.LogConfig{Type: f.driver, Config: opts.ConvertKVStringsToMap(f.options.GetSlice())}, nil
}
