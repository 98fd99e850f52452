package swarm

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/docker/docker/api/types/swarm"

	"weft/commands/cmdenv"
)

func TestExplainBind(t *testing.T) {
	tests := map[string]struct {
		err  string
		want string // what the explanation begins with; empty: none
	}{
		"control":         {"listen tcp 0.0.0.0:2377: bind: address already in use", "Another process holds 2377/tcp"},
		"gossip":          {"failed to start TCP listener: listen tcp 10.0.0.1:7946: bind: address already in use", "Another process holds 7946/tcp"},
		"gossip datagram": {"listen udp 10.0.0.1:7946: bind: address already in use", "Another process holds 7946/udp"},
		"data path":       {"listen udp :4790: bind: address already in use", "Another process holds 4790/udp"},
		"foreign address": {"listen tcp 10.9.9.9:2377: bind: cannot assign requested address", "Another process holds 2377/tcp, or the address is not this node's"},
		"longer number":   {"listen tcp 10.0.0.1:23770: bind: address already in use", "A swarm node needs these to itself:"},
		"no port":         {"vxlan link: address already in use", "A swarm node needs these to itself:"},
		"something else":  {"invalid join token", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			cause := errors.New(test.err)
			err := explainBind(cause, portsOf("0.0.0.0:2377", 4790))
			if !errors.Is(err, cause) || err.Error() != test.err {
				t.Errorf("the error became %v", err)
			}
			hint := cmdenv.Hint(err)
			if !strings.HasPrefix(hint, test.want) || (hint == "") != (test.want == "") {
				t.Errorf("got %q, want %q first", hint, test.want)
			}
		})
	}
}

func TestExplainJoin(t *testing.T) {
	daemon := errors.New("rpc error: code = Unavailable desc = connection error: dial tcp 10.0.0.1:2500: i/o timeout")
	answers := map[string]error{
		"10.0.0.1:2500": &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"10.0.0.1:7946": &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"10.0.0.2:2377": nil,
		"10.0.0.2:7946": &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ENETUNREACH)},
	}
	probe := func(_ context.Context, addr string) error {
		err, known := answers[addr]
		if !known {
			t.Errorf("probed %s", addr)
		}
		return err
	}
	req := swarm.JoinRequest{RemoteAddrs: []string{"10.0.0.1:2500", "10.0.0.2"}}
	hint := cmdenv.Hint(explainJoin(t.Context(), daemon, req, probe))
	for _, want := range []string{
		"From here 10.0.0.1:2500/tcp does not answer: a firewall drops it, or the address is wrong.\n",
		"From here 10.0.0.1:7946/tcp refuses: nothing listens there, or a firewall rejects it.\n",
		"From here 10.0.0.2:2377/tcp answers.\n",
		"From here 10.0.0.2:7946/tcp cannot be reached: dial: connect: network is unreachable.\n",
		"2377/tcp", "7946/tcp", "7946/udp", "4789/udp", "IP protocol 50 (ESP)", "nft add rule inet filter input udp dport 4789 accept",
	} {
		if !strings.Contains(hint, want) {
			t.Errorf("%q is missing in\n%s", want, hint)
		}
	}
	// From another machine this program's own attempts prove nothing.
	if hint := cmdenv.Hint(explainJoin(t.Context(), daemon, req, nil)); strings.Contains(hint, "From here") || !strings.Contains(hint, "7946/udp") {
		t.Errorf("without a prober:\n%s", hint)
	}
	if hint := cmdenv.Hint(explainJoin(t.Context(), errors.New("invalid join token"), req, probe)); hint != "" {
		t.Errorf("an unrelated error got %q", hint)
	}
}

func TestExternalCA(t *testing.T) {
	good := t.TempDir() + "/ca.pem"
	if err := os.WriteFile(good, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := t.TempDir() + "/not.pem"
	if err := os.WriteFile(bad, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"protocol=CFSSL,url=https://a,x=y,cacert=" + good: "",
		"protocol=cfssl":                             "the external-ca option needs a url= parameter",
		"url=https://a":                              "the external-ca option needs a protocol= parameter",
		"protocol=acme,url=https://a":                "unrecognized external CA protocol acme",
		"protocol":                                   "invalid field 'protocol' must be a key=value pair",
		"protocol=cfssl,url=a,cacert=/nowhere":       "unable to read CA cert for external CA: open /nowhere: no such file or directory",
		"protocol=cfssl,url=https://a,cacert=" + bad: "CA cert for external CA must be in PEM format",
	} {
		var v externalCAValue
		err := v.Set(value)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: %v, want %q", value, err, want)
		case want == "" && (v.list[0].Options["x"] != "y" || v.list[0].CACert == "" || v.String() != "cfssl: https://a"):
			t.Errorf("%s: %+v", value, v.list[0])
		}
	}
}
