package bridge

import (
	"fmt"
	"os"

	"weft/engine/kernel"
	"weft/engine/model"
)

// Holder says who has a port of the host: a container or a program. Empty:
// nobody that can be seen.
func (d *Driver) Holder(proto string, port uint16) string {
	holder, _ := d.holder(proto, port)
	return holder
}

// holder also tells whether this process has the port, and no container.
func (d *Driver) holder(proto string, port uint16) (name string, own bool) {
	if name := d.publisherOf(proto, port); name != "" {
		return "container " + name, false
	}
	h, ok := kernel.PortHolder(d.host, proto, port)
	switch {
	case !ok:
		return "", false
	case h.PID == os.Getpid():
		return "this engine", true
	}
	return fmt.Sprintf("%s (PID %d)", h.Name, h.PID), false
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

// KnowServices has errors about taken ports name the services of the swarm that
// publish them. It is called before the driver is used.
func (d *Driver) KnowServices(at func(proto string, port uint16) (name string)) { d.serviceAt = at }

// name adds to an error about a port that is taken who has it.
func (d *Driver) name(err error, w model.PortBinding) error {
	if w.HostPort == 0 || w.HostPort != max(w.HostPort, w.HostPortEnd) {
		return err
	}
	holder, own := d.holder(w.Proto, w.HostPort)
	if holder == "" {
		return err
	}
	if own && d.serviceAt != nil {
		if service := d.serviceAt(w.Proto, w.HostPort); service != "" {
			holder = "service " + service + " of the swarm"
		}
	}
	return fmt.Errorf("%w: it is held by %s", err, holder)
}
