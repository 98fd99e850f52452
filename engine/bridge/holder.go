package bridge

import (
	"fmt"
	"os"

	"weft/engine/kernel"
	"weft/engine/model"
)

// Holder says who has a port of the host: a container, a service of the swarm or
// a program. Empty: nobody that can be seen.
func (d *Driver) Holder(proto string, port uint16) string {
	if name := d.publisherOf(proto, port); name != "" {
		return "container " + name
	}
	h, ok := kernel.PortHolder(d.host, proto, port)
	switch {
	case !ok:
		return ""
	case h.PID == os.Getpid():
		return "a service published in the swarm"
	}
	return fmt.Sprintf("%s (PID %d)", h.Name, h.PID)
}

// publisherOf gives the name of the endpoint that publishes a port.
func (d *Driver) publisherOf(proto string, port uint16) string {
	d.rules.Lock()
	defer d.rules.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, n := range d.networks {
		if n.rules == nil {
			continue
		}
		for _, r := range n.rules.published {
			if r.Proto == proto && r.HostPort == port && r.HostIP.IsValid() {
				return r.owner
			}
		}
	}
	return ""
}

// name adds to an error about a port that is taken who has it.
func (d *Driver) name(err error, w model.PortBinding) error {
	if holder := d.Holder(w.Proto, w.HostPort); holder != "" && w.HostPort != 0 && w.HostPort == max(w.HostPort, w.HostPortEnd) {
		return fmt.Errorf("%w: it is held by %s", err, holder)
	}
	return err
}
