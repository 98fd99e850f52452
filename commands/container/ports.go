package container

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/docker/go-connections/nat"
)

// ports reads --publish and --expose.
func (f *configFlags) ports() (nat.PortSet, nat.PortMap, error) {
	var specs []string
	for _, p := range f.publish.GetSlice() {
		spec, err := shortPortSpec(p)
		if err != nil {
			return nil, nil, err
		}
		specs = append(specs, spec)
	}
	ports, bindings, err := nat.ParsePortSpecs(specs)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range f.expose.GetSlice() {
		if err := expose(ports, e); err != nil {
			return nil, nil, err
		}
	}
	return ports, bindings, nil
}

// shortPortSpec rewrites published=8080,target=80,protocol=tcp to the form
// 8080:80/tcp.
func shortPortSpec(s string) (string, error) {
	if !strings.Contains(s, "=") {
		return s, nil
	}
	fields := map[string]string{"protocol": "tcp"}
	for part := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(part, "=")
		if !ok || key == "" {
			return "", fmt.Errorf("invalid publish opts format (should be name=value but got '%s')", part)
		}
		fields[key] = value
	}
	return fmt.Sprintf("%s:%s/%s", fields["published"], fields["target"], fields["protocol"]), nil
}

// expose adds a port or a range of ports, as 80, 80/udp or 8000-8010/tcp.
func expose(ports nat.PortSet, s string) error {
	if strings.Contains(s, ":") {
		return fmt.Errorf("invalid port format for --expose: %s", s)
	}
	protocol, text := nat.SplitProtoPort(s)
	first, last, err := nat.ParsePortRange(text)
	if err != nil {
		return fmt.Errorf("invalid range format for --expose: %s, error: %w", s, err)
	}
	for n := first; n <= last; n++ {
		port, err := nat.NewPort(protocol, strconv.FormatUint(n, 10))
		if err != nil {
			return err
		}
		ports[port] = struct{}{}
	}
	return nil
}
