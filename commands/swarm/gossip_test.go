package swarm

import (
	"context"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestReportDeaf(t *testing.T) {
	refused := &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	tests := map[string]struct {
		answers []error // the last one is given again and again
		warns   bool
	}{
		"answers":       {answers: []error{nil}},
		"answers late":  {answers: []error{refused, refused, nil}},
		"never answers": {answers: []error{refused}, warns: true},
		"filtered":      {answers: []error{&net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 4*gossipPoll)
			defer cancel()
			if !test.warns {
				ctx = t.Context() // must end by itself
			}
			asked := 0
			var out strings.Builder
			reportDeaf(ctx, &out, "10.0.0.1:7946", func(context.Context, string) error {
				asked++
				return test.answers[min(asked, len(test.answers))-1]
			})
			if got := strings.HasPrefix(out.String(), "WARNING: this node is in the swarm, but nothing answers at 10.0.0.1:7946/tcp"); got != test.warns {
				t.Errorf("said %q", out.String())
			}
		})
	}
}

// Being told to stop is no reason to warn.
func TestReportDeafCancelled(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var out strings.Builder
	reportDeaf(ctx, &out, "x", func(context.Context, string) error {
		cancel()
		return syscall.ECONNREFUSED
	})
	if out.Len() != 0 {
		t.Errorf("said %q", out.String())
	}
}

func TestIsOwn(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1": false, "::1": false, "": false, "eth0": false, "192.0.2.77": false} {
		if got := isOwn(address); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		ip := a.(*net.IPNet).IP
		if got := isOwn(ip.String()); got != !ip.IsLoopback() {
			t.Errorf("%s: %t", ip, got)
		}
	}
}
