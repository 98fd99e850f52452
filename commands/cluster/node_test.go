package cluster

import (
	"context"
	"errors"
	"net/url"
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
