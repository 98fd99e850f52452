package network

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"

	"weft/commands/cmdenv"
	"weft/engine/model"
)

// describe prints what was attached, for people: what a virtual machine has to
// be given, above all. What remains to be done by hand goes to the error
// stream.
func describe(env *cmdenv.Env, a model.NetworkAttachment) error {
	out := tabwriter.NewWriter(env.Out, 0, 0, 2, ' ', 0)
	line := func(title, value string) {
		if value != "" {
			fmt.Fprintf(out, "%s:\t%s\n", title, value)
		}
	}
	line("Attachment", a.ID)
	line("Name", a.Name)
	line("Network", a.Network)
	line("TAP device", a.Tap)
	line("Interface", a.Interface)
	line("Address", a.Address.String())
	if a.AddressV6.IsValid() {
		line("IPv6 address", a.AddressV6.String())
	}
	line("MAC address", a.MAC)
	line("MTU", strconv.Itoa(a.MTU))
	if a.Gateway.IsValid() {
		line("Gateway", a.Gateway.String())
	}
	if a.GatewayV6.IsValid() {
		line("IPv6 gateway", a.GatewayV6.String())
	}
	routes := make([]string, len(a.Routes))
	for i, p := range a.Routes {
		routes[i] = p.String()
	}
	line("Routed by it", strings.Join(routes, ", "))
	if a.Resolver.IsValid() {
		line("Resolver", a.Resolver.String())
	}
	line("Resolver file", a.ResolvConf)
	if err := out.Flush(); err != nil {
		return err
	}
	fmt.Fprint(env.Err, toDo(a))
	return nil
}

// toDo says what is left to the operator.
func toDo(a model.NetworkAttachment) string {
	nameserver := fmt.Sprintf("\"nameserver %s\"", a.Resolver)
	name, named := strings.CutPrefix(a.NetNS, namedNamespaces)
	switch {
	case a.Tap != "":
		return "Give the virtual machine this MAC address, address, MTU and nameserver: frames from another MAC address are not delivered.\n"
	case !a.Resolver.IsValid() || a.ResolvConf != "":
		return ""
	case named:
		return fmt.Sprintf("For names put %s into /etc/netns/%s/resolv.conf, which `ip netns exec` uses (--resolv-conf does that).\n", nameserver, name)
	case a.NetNS != "":
		return fmt.Sprintf("For names put %s into the resolv.conf that the processes in the namespace see.\n", nameserver)
	}
	return fmt.Sprintf("For names put %s into the resolv.conf that process %d sees, unless it is the host's own.\n", nameserver, a.Pid)
}
