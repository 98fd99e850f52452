package vip_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"weft/engine/kernel"
	"weft/engine/netnstest"
	"weft/engine/nft"
	"weft/engine/vip"
)

// client is a sandbox with the addresses of tasks on its loopback device, each
// of which tells its own address and the client's.
func client(t *testing.T, tasks ...string) *kernel.Namespace {
	t.Helper()
	netnstest.Require(t)
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "ip", "link", "set", "lo", "up")
	netnstest.Exec(t, ns, "ip", "addr", "add", "10.20.0.2/24", "dev", "lo")
	netnstest.Exec(t, ns, "ip", "route", "add", "10.20.0.0/16", "dev", "lo", "src", "10.20.0.2")
	netnstest.Exec(t, ns, "ip", "-6", "addr", "add", "fd00:20::2/64", "dev", "lo", "nodad")
	netnstest.Exec(t, ns, "ip", "-6", "route", "add", "fd00:20::/64", "dev", "lo", "src", "fd00:20::2")
	for _, a := range tasks {
		netnstest.Exec(t, ns, "ip", "addr", "add", a, "dev", "lo", "nodad")
		addr := netip.MustParsePrefix(a).Addr()
		netnstest.Serve(t, ns, netip.AddrPortFrom(addr, 80).String(), func(c net.Conn) {
			host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			_, _ = fmt.Fprintf(c, "%s from %s", addr, host)
		})
	}
	return ns
}

func open(tb testing.TB, ns *kernel.Namespace) *nft.Conn {
	tb.Helper()
	c, err := nft.Open(ns)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := c.Close(); err != nil {
			tb.Error(err)
		}
	})
	return c
}

func ask(t *testing.T, ns *kernel.Namespace, addr string) (string, error) {
	t.Helper()
	var got []byte
	err := kernel.Do(ns, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(addr, "80"))
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		got, err = io.ReadAll(c)
		return err
	})
	return string(got), err
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func TestFlowsAreSpread(t *testing.T) {
	ns := client(t, "10.20.0.11/32", "10.20.0.12/32", "10.20.0.13/32", "fd00:20::11/128", "fd00:20::12/128")
	rules := open(t, ns)
	services := []vip.Service{
		{VIP: netip.MustParseAddr("10.20.0.100"), Tasks: addrs("10.20.0.11", "10.20.0.12", "10.20.0.13")},
		{VIP: netip.MustParseAddr("10.20.0.101"), Tasks: addrs("10.20.0.13")},
		{VIP: netip.MustParseAddr("10.20.0.102")},
		{VIP: netip.MustParseAddr("fd00:20::100"), Tasks: addrs("fd00:20::11", "fd00:20::12")},
	}
	if err := vip.Set(rules, services, false); err != nil {
		t.Fatal(err)
	}
	for _, s := range services {
		count := map[string]int{}
		for range 6 {
			got, err := ask(t, ns, s.VIP.String())
			if (err == nil) != (len(s.Tasks) > 0) {
				t.Fatalf("%s: %q, %v", s.VIP, got, err)
			}
			count[got]++
		}
		for _, task := range s.Tasks {
			from := "10.20.0.2"
			if task.Is6() {
				from = "fd00:20::12" // what the kernel prefers
			}
			if n := count[task.String()+" from "+from]; n != 6/len(s.Tasks) {
				t.Errorf("%s: task %s has %d of 6 flows: %v", s.VIP, task, n, count)
			}
		}
	}
	if err := vip.Set(rules, services[1:], true); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, ns, "10.20.0.101"); err != nil || got != "10.20.0.13 from 10.20.0.2" {
		t.Errorf("a service that stays: %q, %v", got, err)
	}
	if got, err := ask(t, ns, "10.20.0.100"); err == nil {
		t.Errorf("a service that is gone: %q", got)
	}
	if err := vip.Set(rules, nil, true); err != nil {
		t.Fatal(err)
	}
	if got := netnstest.Exec(t, ns, "nft", "list", "ruleset"); got != "" {
		t.Errorf("left behind: %s", got)
	}
}

// BenchmarkSet writes a sandbox's table of a network with so many services of
// ten tasks.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(fmt.Sprint(n, " services"), func(b *testing.B) {
			netnstest.Require(b)
			ns, _ := netnstest.Sandbox(b)
			rules := open(b, ns)
			var services []vip.Service
			addr := netip.MustParseAddr("10.20.0.1")
			for range n {
				s := vip.Service{VIP: addr}
				for range 10 {
					addr = addr.Next()
					s.Tasks = append(s.Tasks, addr)
				}
				addr = addr.Next()
				services = append(services, s)
			}
			if err := vip.Set(rules, services, false); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := vip.Set(rules, services, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
