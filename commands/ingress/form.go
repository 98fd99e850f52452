package ingress

import (
	"context"
	"encoding/json"

	"github.com/spf13/pflag"

	"weft/commands/cmdenv"
	"weft/commands/guarded"
	"weft/tui/guided"
	flow "weft/wizard/flows/ingress"
)

// leadCustomise asks for what the flags would say.
func leadCustomise(ctx context.Context, env *cmdenv.Env, o *customiseOptions) error {
	s, err := guarded.Open(ctx, env, &o.Options)
	if err != nil {
		return err
	}
	return s.Lead(ctx, &guarded.Form{
		Title: "Replace the ingress network", Flow: flow.Flow, Words: []string{"ingress", "customise"}, Fields: customiseFields(),
		Flags: func() (*pflag.FlagSet, func() (json.RawMessage, error)) {
			o := &customiseOptions{networkOptions: newNetworkOptions()}
			flags := pflag.NewFlagSet("", pflag.ContinueOnError)
			o.bindAnswers(flags)
			return flags, func() (json.RawMessage, error) { return o.answers(flow.Strategy(o.strategy)) }
		},
	})
}

// customiseFields are the lines of the form, in the order in which people
// think of them.
func customiseFields() []guided.Field {
	boolean := []string{"as it is", "true", "false"}
	return []guided.Field{
		{Name: "name", Label: "Name", Help: "Name of the new network. Services never name the ingress network, so it may have any."},
		{Name: "subnet", Label: "Subnet", Help: "Subnet in CIDR form, such as 10.11.0.0/16. Several are separated by commas."},
		{Name: "gateway", Label: "Gateway", Help: "Address inside the subnet that the network keeps for its gateway."},
		{Name: "ip-range", Label: "Range", Help: "Part of the subnet from which tasks and nodes get their addresses."},
		{Name: "aux-address", Label: "Kept addresses", Help: "Addresses that nobody gets, as NAME=ADDRESS, separated by commas."},
		{Name: "mtu", Label: "MTU", Help: "Largest packet inside the network, in bytes. VXLAN needs 50 bytes around it, encryption more."},
		{Name: "opt", Label: "Driver options", Help: "Options of the overlay driver, as KEY=VALUE, separated by commas."},
		{Name: "label", Label: "Labels", Help: "Labels of the network, as KEY=VALUE, separated by commas."},
		{Name: "ipv4", Label: "IPv4", Choices: boolean, Help: "Whether tasks get IPv4 addresses."},
		{Name: "ipv6", Label: "IPv6", Choices: boolean, Help: "Whether tasks get IPv6 addresses. This needs an IPv6 subnet."},
		{
			Name: "strategy", Label: "Strategy", Choices: []string{string(flow.Detach), string(flow.ScaleToZero)},
			Help: "How published ports are taken off. detach: the services go on, and their tasks are replaced twice. scale-to-zero: the services stop meanwhile, and their tasks are replaced once.",
		},
	}
}
