package ingress

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"weft/wizard"
)

// overheadBytes is what VXLAN over IPv4 puts around a packet (RFC 7348: outer
// Ethernet of 14, IPv4 of 20, UDP of 8, VXLAN of 8).
const overheadBytes = 50

// minMTUv6 is the least MTU of a network with IPv6, in bytes (RFC 8200, section
// 5).
const minMTUv6 = 1280

// preflight gives all that speaks against the plan, not only the first.
func preflight(w *World, s *saved) []wizard.Finding {
	var list []wizard.Finding
	for _, check := range []func(*World, *saved) []wizard.Finding{
		checkManager, checkNodes, checkVersions, checkName, checkSubnets, checkPools, checkFamilies, checkRoom, checkMTUs, checkServices,
	} {
		list = append(list, check(w, s)...)
	}
	return list
}

func blocks(code, fix, format string, args ...any) wizard.Finding {
	return wizard.Finding{Code: code, Severity: wizard.Blocks, Text: fmt.Sprintf(format, args...), Fix: fix}
}

func checkManager(w *World, _ *saved) []wizard.Finding {
	switch {
	case !w.Manager:
		return []wizard.Finding{blocks("not-a-manager", "run this against a manager: --host or --context", "this node is not a manager of a swarm")}
	case !w.Quorum:
		return []wizard.Finding{blocks("no-quorum", "bring the other managers back first: `weft node ls`", "the managers have no majority to spare: without one more of them nothing could be changed back")}
	}
	return nil
}

func checkNodes(w *World, _ *saved) []wizard.Finding {
	var list []wizard.Finding
	for _, n := range w.Nodes {
		if !n.Ready() {
			list = append(list, blocks("node-not-ready", fmt.Sprintf("bring %[1]s back, or remove it: `weft node rm %[1]s`", n.Hostname),
				"node %s is %s: it would come back with the old network still on it", n.Hostname, n.State))
		}
	}
	return list
}

func checkVersions(w *World, _ *saved) []wizard.Finding {
	var versions []string
	for _, n := range w.Nodes {
		versions = append(versions, n.EngineVersion)
	}
	slices.Sort(versions)
	if versions = slices.Compact(versions); len(versions) < 2 {
		return nil
	}
	return []wizard.Finding{{
		Code: "engine-versions", Severity: wizard.Warns,
		Text: "the nodes run several engine versions (" + strings.Join(versions, ", ") + "); Docker warns that the removal may then not be effective, and the function of ingress networks made later be impaired",
		Fix:  "finish the upgrade of the nodes first",
	}}
}

func checkName(w *World, s *saved) []wizard.Finding {
	if slices.Contains(w.Names, s.New.Name) {
		return about("name", blocks("name-taken", "choose another --name", "there is a network %s already", s.New.Name))
	}
	return nil
}

func checkSubnets(w *World, s *saved) []wizard.Finding {
	var list []wizard.Finding
	for _, pool := range s.New.IPAM.Config {
		mine, err := netip.ParsePrefix(pool.Subnet)
		if err != nil {
			continue // the old network's, which is what it is
		}
		for _, taken := range w.Taken {
			if theirs, err := netip.ParsePrefix(taken.Prefix); err == nil && theirs.Overlaps(mine) {
				list = append(list, blocks("subnet-overlap", "choose another --subnet", "subnet %s overlaps %s of %s", mine, theirs, taken.By))
			}
		}
		for _, n := range w.Nodes {
			if addr, err := netip.ParseAddr(n.Addr); err == nil && mine.Contains(addr) {
				list = append(list, blocks("subnet-overlap", "choose another --subnet", "subnet %s has the address %s of node %s in it", mine, addr, n.Hostname))
			}
		}
	}
	return about("subnet", list...)
}

// checkPools looks at what the new subnet may clash with later. A network that
// keeps its subnet has lived with it.
func checkPools(w *World, s *saved) []wizard.Finding {
	var list []wizard.Finding
	for _, pool := range s.New.IPAM.Config {
		mine, err := netip.ParsePrefix(pool.Subnet)
		if err != nil || s.Old != nil && slices.ContainsFunc(s.Old.Spec.IPAM.Config, func(p Pool) bool { return p.Subnet == pool.Subnet }) {
			continue
		}
		for _, text := range w.BridgePools {
			if theirs, err := netip.ParsePrefix(text); err == nil && theirs.Overlaps(mine) {
				list = append(list, wizard.Finding{
					Code: "bridge-pool-overlap", Severity: wizard.Warns, Answer: "subnet",
					Text: fmt.Sprintf("subnet %s overlaps %s, from which a daemon may give addresses to a bridge network made later", mine, theirs),
					Fix:  "choose another --subnet, or take it out of default-address-pools of every daemon",
				})
			}
		}
		for _, text := range w.Pools {
			if theirs, err := netip.ParsePrefix(text); err == nil && theirs.Overlaps(mine) {
				list = append(list, wizard.Finding{
					Code: "subnet-in-pool", Severity: wizard.Tells, Answer: "subnet",
					Text: fmt.Sprintf("subnet %s is part of the swarm's default pool %s: networks made later get what is left of it", mine, theirs),
					Fix:  "choose a --subnet outside of it if the pool is small",
				})
			}
		}
	}
	return list
}

// checkFamilies looks for an address family without addresses: a swarm has no
// default pool for IPv6.
func checkFamilies(_ *World, s *saved) []wizard.Finding {
	six := slices.ContainsFunc(s.New.IPAM.Config, func(p Pool) bool {
		prefix, err := netip.ParsePrefix(p.Subnet)
		return err == nil && prefix.Addr().Is6()
	})
	if !s.New.EnableIPv6 || six {
		return nil
	}
	return about("ipv6", blocks("ipv6-without-subnet", "give an IPv6 --subnet as well, such as fd00:11::/64", "IPv6 is asked for, and there is no IPv6 subnet to give addresses from"))
}

// checkRoom counts the addresses needed: one per node, one per service as
// virtual IP, and twice the tasks, for both generations hold one during an
// update.
func checkRoom(w *World, s *saved) []wizard.Finding {
	tasks := 0
	for _, k := range s.Services {
		tasks += max(k.Running, 1)
	}
	need := len(w.Nodes) + len(s.Services) + 2*tasks
	room, known := 0.0, false
	for _, p := range s.New.IPAM.Config {
		text := p.IPRange
		if text == "" {
			text = p.Subnet
		}
		if r, err := netip.ParsePrefix(text); err == nil {
			known = true
			room += float64(uint64(1)<<min(r.Addr().BitLen()-r.Bits(), 62)) - 3 // network, broadcast, gateway
			room -= float64(len(p.AuxAddress))
		}
	}
	if !known || room >= float64(need) {
		return nil
	}
	return about("subnet", blocks("subnet-too-small", "choose a larger --subnet or --ip-range",
		"the new network has room for %.0f addresses; %d nodes, %d services and their tasks during an update need %d", max(room, 0), len(w.Nodes), len(s.Services), need))
}

func checkMTUs(w *World, s *saved) []wizard.Finding {
	mtu := s.New.mtu()
	switch {
	case mtu == 0:
		return nil
	case s.New.EnableIPv6 && mtu < minMTUv6:
		return about("mtu", blocks("mtu-below-ipv6", fmt.Sprintf("give --mtu %d or more, or --ipv6=false", minMTUv6), "MTU %d is too small for IPv6, which is asked for", mtu))
	case w.Underlay == 0:
		return about("mtu", wizard.Finding{
			Code: "mtu-unchecked", Severity: wizard.Tells,
			Text: fmt.Sprintf("what the network between the nodes carries can't be seen from here: whether MTU %d and the %d bytes of VXLAN fit is not checked", mtu, overheadBytes),
			Fix:  "run this on a manager's own machine",
		})
	case mtu > w.Underlay-overheadBytes:
		return about("mtu", blocks("mtu-too-large", fmt.Sprintf("give --mtu %d or less", w.Underlay-overheadBytes),
			"MTU %d does not fit: the network between the nodes carries %d, and VXLAN takes %d of it", mtu, w.Underlay, overheadBytes))
	}
	return nil
}

func checkServices(w *World, s *saved) []wizard.Finding {
	var list []wizard.Finding
	for _, svc := range w.Services {
		if !slices.ContainsFunc(s.Services, func(k kept) bool { return k.ID == svc.ID }) {
			continue
		}
		if svc.Lossy != "" {
			list = append(list, blocks("spec-not-understood", "use a weft that is as new as the engine",
				"service %s has what this weft does not know and could lose: %s", svc.Name, svc.Lossy))
		}
		switch svc.Update {
		case "updating", "rollback_started":
			list = append(list, blocks("service-updating", "wait until it is done: `weft service ps "+svc.Name+"`", "service %s is in the middle of an update", svc.Name))
		case "paused", "rollback_paused":
			list = append(list, blocks("update-paused", "mend the service, or roll it back, first", "the update of service %s is paused: %s", svc.Name, svc.Message))
		}
	}
	return list
}

// about says which answer findings are about.
func about(answer string, list ...wizard.Finding) []wizard.Finding {
	for i := range list {
		list[i].Answer = answer
	}
	return list
}

// hazards are what has to be accepted by name.
func hazards(s *saved) []wizard.Hazard {
	if len(s.Services) == 0 || s.Old == nil {
		return nil
	}
	n := 0
	for _, k := range s.Services {
		n += len(k.Published)
	}
	list := []wizard.Hazard{{
		Name: "drops-ingress-traffic", Word: s.Old.Spec.Name,
		Text: fmt.Sprintf("%s of %s %s nowhere until the new network is in place", amount(n, "published port"), amount(len(s.Services), "service"), does(n, "answer")),
	}}
	if s.ToZero {
		return append(list, wizard.Hazard{Name: "stops-services", Text: "replicated services that publish ports are stopped meanwhile, also for those who use them by other networks"})
	}
	return append(list, wizard.Hazard{Name: "restarts-tasks", Text: "the tasks of these services are replaced twice, as by two updates of the service"})
}

// losses are what can't be kept.
func losses(s *saved) []string {
	if len(s.Services) == 0 {
		return nil
	}
	list := []string{"`service rollback` of the services leads back to a state within this workflow, and no longer to the one before it"}
	for _, k := range s.Services {
		for _, p := range k.Published {
			if p.PublishedPort == 0 {
				list = append(list, fmt.Sprintf("service %s: the engine chooses the number of the port for %d/%s anew", k.Name, p.TargetPort, p.Protocol))
			}
		}
	}
	return list
}

// notes say how the state of nodes is going to be seen.
func (c *Swarm) notes(ctx context.Context, s *saved) []string {
	if s.Old == nil {
		return nil
	}
	var blind []string
	for _, n := range s.Nodes {
		if _, seen, err := c.Nodes.Has(ctx, n, s.Old.Spec.Name); err != nil || !seen {
			blind = append(blind, n.Hostname)
		}
	}
	if len(blind) == 0 {
		return []string{"every node is asked whether it has let go of the old network"}
	}
	return []string{fmt.Sprintf("%s can't be asked about what is left there of the old network: the workflow waits until no task holds an endpoint of it, and then %v; --node-context NODE=CONTEXT lets it look", strings.Join(blind, ", "), settle)}
}
