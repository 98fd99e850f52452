package cluster

import (
	"context"
	"errors"
	"net"
	"net/url"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/wizard/flows/ingress"
)

// canned answers every request with the same text, or fails.
type canned string

func (c canned) Do(context.Context, string, string, url.Values, any) ([]byte, error) {
	if c == "" {
		return nil, errors.New("no answer")
	}
	return []byte(c), nil
}

func TestNodes(t *testing.T) {
	const text = `[{"Name":"ingress","Id":"i","Scope":"swarm","Ingress":true,"IPAM":{"Config":[{"Subnet":"10.0.0.0/24"}]}},
		{"Name":"bridge","Id":"b","Scope":"local","IPAM":{"Config":[{"Subnet":"172.17.0.0/16"},{"Subnet":"fd17::/64"}]}}]`
	n := Nodes{"web1": canned(text)}
	got, err := n.Taken(t.Context())
	want := []ingress.Subnet{{Prefix: "172.17.0.0/16", By: "network bridge of node web1"}, {Prefix: "fd17::/64", By: "network bridge of node web1"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v, %s", err, diff)
	}
	for name, c := range map[string]struct{ has, seen bool }{"web1": {true, true}, "web2": {false, false}} {
		has, seen, err := n.Has(t.Context(), ingress.Node{Hostname: name}, "ingress")
		if err != nil || has != c.has || seen != c.seen {
			t.Errorf("%s: %t, %t, %v", name, has, seen, err)
		}
	}
	if _, err := (Nodes{"web1": canned("")}).Taken(t.Context()); err == nil {
		t.Error("a node that does not answer is no error")
	}
}

// serve answers datagrams with nothing if it is asked to.
func serve(t *testing.T, answers bool) (port uint32) {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		for buf := make([]byte, 1); ; {
			_, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if answers {
				_, _ = c.WriteTo(nil, from)
			}
		}
	}()
	return portOf(t, c.LocalAddr())
}

func portOf(t *testing.T, a net.Addr) uint32 {
	t.Helper()
	_, text, err := net.SplitHostPort(a.String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func TestDialer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := portOf(t, closed.Addr())
	_ = closed.Close()
	for name, c := range map[string]struct {
		port ingress.Port
		want bool
	}{
		"tcp":                 {ingress.Port{Protocol: "tcp", PublishedPort: portOf(t, l.Addr())}, true},
		"tcp unsaid":          {ingress.Port{PublishedPort: portOf(t, l.Addr())}, true},
		"tcp, nobody":         {ingress.Port{Protocol: "tcp", PublishedPort: nobody}, false},
		"udp":                 {ingress.Port{Protocol: "udp", PublishedPort: serve(t, true)}, true},
		"udp, nobody":         {ingress.Port{Protocol: "udp", PublishedPort: nobody}, false},
		"udp, silent":         {ingress.Port{Protocol: "udp", PublishedPort: serve(t, false)}, false},
		"sctp can't be asked": {ingress.Port{Protocol: "sctp", PublishedPort: portOf(t, l.Addr())}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (Dialer{(&net.Dialer{}).DialContext}).Answers(t.Context(), "127.0.0.1", c.port); got != c.want {
				t.Errorf("%+v: %t", c.port, got)
			}
		})
	}
}
