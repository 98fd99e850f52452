package swarmtest

import (
	"fmt"
	"maps"
	"net/netip"
)

// localNetwork is a network of one node.
type localNetwork struct {
	id, name, driver, created string
	config                    []object
	options, labels           map[string]string
	internal                  bool
	predefined                bool
}

// predefined gives the local networks of every node in a swarm.
func (s *Swarm) predefined(hostname string) []*localNetwork {
	var list []*localNetwork
	add := func(name, driver string, config []object, options map[string]string) {
		list = append(list, &localNetwork{
			id: hexID(hostname + name), name: name, driver: driver, created: stamp(s.now()),
			config: config, options: options, labels: map[string]string{}, predefined: name != gwbridge,
		})
	}
	const prefix = "com.docker.network.bridge."
	add("none", "null", []object{}, map[string]string{})
	add("host", "host", []object{}, map[string]string{})
	add("bridge", "bridge", []object{{"Subnet": "172.17.0.0/16"}}, map[string]string{
		prefix + "default_bridge": "true", prefix + "enable_icc": "true", prefix + "enable_ip_masquerade": "true",
		prefix + "host_binding_ipv4": "0.0.0.0", prefix + "name": "docker0", "com.docker.network.driver.mtu": "1500",
	})
	add(gwbridge, "bridge", []object{{"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}}, map[string]string{
		prefix + "enable_icc": "false", prefix + "enable_ip_masquerade": "true", prefix + "name": gwbridge,
	})
	return list
}

const gwbridge = "docker_gwbridge"

func (b *localNetwork) json(*node) object {
	return object{
		"Name": b.name, "Id": b.id, "Created": b.created, "Scope": "local", "Driver": b.driver, "Internal": b.internal,
		"IPAM": ipam("default", b.config), "Containers": object{}, "Options": maps.Clone(b.options), "Labels": maps.Clone(b.labels),
	}
}

// detail is how the network is inspected.
func (b *localNetwork) detail(n *node) object {
	o := b.json(n)
	if b.name == gwbridge && n.local != nil {
		o["Containers"] = object{n.local.name + "-sbox": endpointJSON("gateway_ingress-sbox", netip.MustParsePrefix("172.18.0.2/16"), n.id)}
	}
	return o
}

func (b *localNetwork) removable(n *node) error {
	if b.predefined {
		return failure(403, "%s is a pre-defined network and cannot be removed", b.name)
	}
	if b.name == gwbridge && n.local != nil {
		return failure(403, "error while removing network: network %s id %s has active endpoints", b.name, b.id)
	}
	return nil
}

func (s *Swarm) createLocal(c *call, req object, warning string) (answer, error) {
	driver := str(req, "Driver")
	if driver == "" {
		driver = "bridge"
	}
	if driver != "bridge" {
		return answer{}, notFound("plugin %q not found", driver)
	}
	if boolean(req, "Ingress") {
		return answer{}, failure(403, "Ingress network can only be global scope network")
	}
	b := &localNetwork{
		id: s.newHexID(), name: str(req, "Name"), driver: driver, created: stamp(s.now()), internal: boolean(req, "Internal"),
		options: orEmpty(stringMap(req, "Options")), labels: orEmpty(stringMap(req, "Labels")),
	}
	b.config = objects(child(req, "IPAM"), "Config")
	if len(b.config) == 0 {
		second := 19 + len(c.node.bridges)
		b.config = []object{{"Subnet": fmt.Sprintf("172.%d.0.0/16", second), "Gateway": fmt.Sprintf("172.%d.0.1", second)}}
	}
	c.node.bridges = append(c.node.bridges, b)
	return answer{status: 201, body: object{"Id": b.id, "Warning": warning}}, nil
}
