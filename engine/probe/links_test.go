package probe

import (
	"testing"

	"weft/engine/netnstest"
)

func TestIP(t *testing.T) {
	ns, _ := netnstest.Sandbox(t)
	netnstest.Exec(t, ns, "sh", "-ec", `
		ip link add eth0 address 02:42:0a:01:02:03 mtu 1450 type bridge
		ip link set lo up
		ip addr add 10.1.2.3/24 dev eth0
		ip addr add fd98::3/64 dev eth0 nodad`)
	const want = `1: lo: <UP,LOOPBACK,RUNNING> mtu 65536
    inet 127.0.0.1/8
    inet ::1/128
2: eth0: <BROADCAST,MULTICAST> mtu 1450
    ether 02:42:0a:01:02:03
    inet 10.1.2.3/24
    inet fd98::3/64
`
	for _, args := range [][]string{{"ip"}, {"ip", "a"}, {"ip", "addr"}, {"ip", "address"}, {"ip", "l"}, {"ip", "link"}} {
		if got := in(t, ns, args...); got != (result{0, want, ""}) {
			t.Errorf("%v: %+v", args, got)
		}
	}
	in(t, ns, "ip", "route").says(t, codeUsage, "", "probe ip: it lists links and addresses, not route\n")
}
