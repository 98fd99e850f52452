package swarm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/docker/docker/api/types/swarm"

	"weft/commands/cmdenv"
)

// defaultDataPathPort is the port of VXLAN (RFC 7348).
const defaultDataPathPort = 4789

// need is one thing a swarm must be able to use on and between its nodes.
type need struct {
	what string // "2377/tcp"
	port string // "2377", empty for a protocol without ports
	use  string
	open string // how to let it through a firewall
	flag string // that chooses another port, empty if nothing does
}

// portsOf gives the needs of a node that listens here and carries its data
// path on this port, 0 being the default.
func portsOf(listenAddr string, dataPathPort uint32) []need {
	control := "2377"
	if _, port, err := net.SplitHostPort(listenAddr); err == nil && port != "" {
		control = port
	}
	if dataPathPort == 0 {
		dataPathPort = defaultDataPathPort
	}
	vxlan := strconv.FormatUint(uint64(dataPathPort), 10)
	return []need{
		{control + "/tcp", control, "managers' control plane: joining, tokens, orders to nodes; reachable on managers", "tcp dport " + control + " accept", "--listen-addr"},
		{"7946/tcp", "7946", "gossip between all nodes: which address lives where", "tcp dport 7946 accept", ""},
		{"7946/udp", "7946", "gossip between all nodes: which address lives where", "udp dport 7946 accept", ""},
		{vxlan + "/udp", vxlan, "VXLAN data path between all nodes: containers' traffic", "udp dport " + vxlan + " accept", "--data-path-port"},
		{"IP protocol 50 (ESP)", "", "encrypted overlay networks only, between all nodes", "meta l4proto esp accept", ""},
	}
}

// describe lists needs, with a firewall rule each.
func describe(needs []need) string {
	var b strings.Builder
	for _, n := range needs {
		fmt.Fprintf(&b, "  %-21s %s\n  %-21s open: nft add rule inet filter input %s\n", n.what, n.use, "", n.open)
	}
	return strings.TrimRight(b.String(), "\n")
}

// explainBind adds to an error about a port that is taken which one it is and
// what the swarm needs it for.
func explainBind(err error, needs []need) error {
	text := err.Error()
	if !strings.Contains(text, "address already in use") && !strings.Contains(text, "cannot assign requested address") {
		return err
	}
	for _, n := range needs {
		if n.port != "" && mentionsPort(text, n.port) && strings.HasSuffix(n.what, "udp") == strings.Contains(text, "udp") {
			return cmdenv.WithHint(err, n.taken())
		}
	}
	return cmdenv.WithHint(err, "A swarm node needs these to itself:\n\n"+describe(needs))
}

// taken explains that a need's port cannot be bound.
func (n need) taken() string {
	remedy := "end it: this port cannot be changed."
	if n.flag != "" {
		remedy = "end it, or choose another port with " + n.flag + "."
	}
	return fmt.Sprintf("Another process holds %s, or the address is not this node's.\nA swarm needs it for the %s.\n"+
		"`ss -lntup 'sport = :%s'` shows who holds it; %s", n.what, n.use, n.port, remedy)
}

// mentionsPort looks for ":port" that no further digit follows.
func mentionsPort(text, port string) bool {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, ":"+port)
		if !found {
			return false
		}
		if after == "" || after[0] < '0' || after[0] > '9' {
			return true
		}
		rest = after
	}
}

// prober tries to open a TCP connection. nil means that this program may be
// on another machine than the engine, so that its own attempts prove nothing.
type prober func(ctx context.Context, addr string) error

// probeTimeout is how long an unanswered connection is waited for.
const probeTimeout = 3 * time.Second

// proberFor gives a prober if the engine is on this machine.
func proberFor(ctx context.Context, env *cmdenv.Env) prober {
	engine, err := env.Engine(ctx)
	if err != nil || !strings.HasPrefix(engine.Host, "unix://") {
		return nil
	}
	return func(ctx context.Context, addr string) error {
		conn, err := (&net.Dialer{Timeout: probeTimeout}).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}

// unreachable are the texts of daemons that could not reach a manager, or not
// in time.
func unreachable(err error) bool {
	for _, text := range []string{
		"connection refused", "no route to host", "network is unreachable", "i/o timeout", "deadline exceeded",
		"Timeout was reached before node joined", "connection error", "could not connect to prospective new cluster member",
	} {
		if strings.Contains(err.Error(), text) {
			return true
		}
	}
	return false
}

// explainJoin adds to a failed join what was not reachable and what has to be.
func explainJoin(ctx context.Context, err error, req swarm.JoinRequest, probe prober) error {
	if bound := explainBind(err, portsOf(req.ListenAddr, 0)); cmdenv.Hint(bound) != "" || !unreachable(err) {
		return bound
	}
	var b strings.Builder
	for _, remote := range req.RemoteAddrs {
		host, port, splitErr := net.SplitHostPort(remote)
		if splitErr != nil {
			host, port = remote, "2377"
		}
		if probe == nil {
			continue
		}
		for _, addr := range []string{net.JoinHostPort(host, port), net.JoinHostPort(host, "7946")} {
			fmt.Fprintf(&b, "From here %s/tcp %s.\n", addr, verdict(probe(ctx, addr)))
		}
	}
	b.WriteString("A node that joins must reach these on the other nodes, and be reached by them:\n\n")
	b.WriteString(describe(portsOf("", 0)))
	return cmdenv.WithHint(err, b.String())
}

// verdict puts the outcome of a probe in words.
func verdict(err error) string {
	var timeout net.Error
	switch {
	case err == nil:
		return "answers"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refuses: nothing listens there, or a firewall rejects it"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "does not answer: a firewall drops it, or the address is wrong"
	default:
		return "cannot be reached: " + err.Error()
	}
}
