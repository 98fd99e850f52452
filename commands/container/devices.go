package container

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/docker/cli/opts"
	"github.com/docker/docker/api/types/container"
	"github.com/spf13/pflag"
	cdi "tags.cncf.io/container-device-interface/pkg/parser"
)

// deviceFlags are those that hand the host's devices to the container.
type deviceFlags struct {
	devices opts.ListOpts
	rules   opts.ListOpts
	gpus    opts.GpuOpts
}

func newDeviceFlags() deviceFlags {
	return deviceFlags{devices: opts.NewListOpts(nil), rules: opts.NewListOpts(checkDeviceRule)}
}

func (f *deviceFlags) bind(set *pflag.FlagSet) {
	set.Var(&f.devices, "device", "Add a host device to the container")
	set.Var(&f.rules, "device-cgroup-rule", "Add a rule to the cgroup allowed devices list")
	set.Var(&f.gpus, "gpus", "GPU devices to add to the container ('all' to pass all GPUs)")
}

// apply adds the devices to a container's resources. One with a name of the
// Container Device Interface, as vendor.com/class=name, is the daemon's to
// find.
func (f *deviceFlags) apply(r *container.Resources) error {
	r.Devices = []container.DeviceMapping{}
	var named []string
	for _, spec := range f.devices.GetSlice() {
		if cdi.IsQualifiedName(spec) {
			named = append(named, spec)
			continue
		}
		mapping, err := parseDevice(spec)
		if err != nil {
			return err
		}
		r.Devices = append(r.Devices, mapping)
	}
	r.DeviceRequests = f.gpus.Value()
	if len(named) > 0 {
		r.DeviceRequests = append(r.DeviceRequests, container.DeviceRequest{Driver: "cdi", DeviceIDs: named})
	}
	r.DeviceCgroupRules = f.rules.GetSlice()
	return nil
}

// parseDevice reads HOST[:CONTAINER][:MODE].
func parseDevice(spec string) (container.DeviceMapping, error) {
	m := container.DeviceMapping{CgroupPermissions: "rwm"}
	parts := strings.Split(spec, ":")
	if len(parts) > 3 || parts[0] == "" {
		return m, fmt.Errorf("bad format for path: %s", spec)
	}
	inside := parts[0]
	switch {
	case len(parts) == 3:
		if !isDeviceMode(parts[2]) {
			return m, fmt.Errorf("bad mode specified: %s", parts[2])
		}
		inside, m.CgroupPermissions = parts[1], parts[2]
		m.PathOnHost, m.PathInContainer = parts[0], parts[1]
	case len(parts) == 2 && !isDeviceMode(parts[1]):
		inside = parts[1]
		m.PathOnHost, m.PathInContainer = parts[0], path.Clean(parts[1])
	default:
		if len(parts) == 2 {
			m.CgroupPermissions = parts[1]
		}
		m.PathOnHost, m.PathInContainer = path.Clean(parts[0]), path.Clean(parts[0])
	}
	if !path.IsAbs(inside) {
		return m, fmt.Errorf("%s is not an absolute path", inside)
	}
	return m, nil
}

// isDeviceMode reports whether mode is of r, w and m, each at most once.
func isDeviceMode(mode string) bool {
	for i, char := range mode {
		if !strings.ContainsRune("rwm", char) || strings.ContainsRune(mode[:i], char) {
			return false
		}
	}
	return mode != ""
}

// checkDeviceRule wants TYPE MAJOR:MINOR MODE, as "c 13:* rwm".
func checkDeviceRule(rule string) (string, error) {
	if !regexp.MustCompile(`^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$`).MatchString(rule) {
		return rule, fmt.Errorf("invalid device cgroup format '%s'", rule)
	}
	return rule, nil
}
