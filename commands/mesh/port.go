package mesh

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"weft/commands/cmdenv"
	"weft/engine/model"
)

// reference is a port as an operator names it: 8080, or 8080/udp.
type reference struct {
	number uint16
	proto  string // empty: not said
}

func parsePort(s string) (reference, error) {
	number, proto, named := strings.Cut(s, "/")
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 || (named && !slices.Contains([]string{"tcp", "udp", "sctp"}, proto)) {
		return reference{}, fmt.Errorf("%q is no published port: use a number from 1 to 65535 and, if it is not TCP's alone, /tcp, /udp or /sctp, as in 8080/udp", s)
	}
	return reference{number: uint16(n), proto: proto}, nil
}

// protocol gives the one meant: that named, or the only one published, or TCP.
func (r reference) protocol(ports []model.MeshPort) string {
	if r.proto != "" {
		return r.proto
	}
	var found []string
	for _, p := range ports {
		if p.Published == r.number {
			found = append(found, p.Proto)
		}
	}
	if len(found) == 1 {
		return found[0]
	}
	return "tcp"
}

func (r reference) find(ports []model.MeshPort) (model.MeshPort, error) {
	proto := r.protocol(ports)
	for _, p := range ports {
		if p.Published == r.number && p.Proto == proto {
			return p, nil
		}
	}
	return model.MeshPort{}, fmt.Errorf("no ready task publishes %d/%s on the ingress network: see `weft mesh ls`, and `weft service ps` of the service that should", r.number, proto)
}

// complete offers the published ports.
func complete(env *cmdenv.Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		s, err := look(cmd.Context(), env)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var out []string
		for _, p := range s.Ports {
			out = append(out, portName(p)+"\t"+p.Service)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
