package mesh_test

import (
	"net"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/mesh"
	"weft/engine/netnstest"
)

func TestListening(t *testing.T) {
	netnstest.Require(t)
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "ip", "link", "set", "lo", "up")
	for _, at := range []string{":80", "0.0.0.0:81", "127.0.0.1:82", "[::1]:83", "[::]:84"} {
		var l net.Listener
		must(t, kernel.Do(ns, func() (err error) {
			l, err = new(net.ListenConfig).Listen(t.Context(), "tcp", at)
			return err
		}))
		t.Cleanup(func() { _ = l.Close() })
	}
	var ports []mesh.Target
	for port := range uint16(6) {
		ports = append(ports, mesh.Target{Port: mesh.Port{Proto: unix.IPPROTO_TCP, Published: 8000 + port}, To: 80 + port})
	}
	ports = append(ports, mesh.Target{Port: mesh.Port{Proto: unix.IPPROTO_UDP, Published: 8000}, To: 80})
	got, err := mesh.Listening(ns, ports)
	must(t, err)
	want := mesh.Listeners{Open: []uint16{80, 81, 82, 83, 84}, Closed: []uint16{85}, Anywhere: []uint16{80, 81, 84}}
	if !slices.Equal(got.Open, want.Open) || !slices.Equal(got.Closed, want.Closed) || !slices.Equal(got.Anywhere, want.Anywhere) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
