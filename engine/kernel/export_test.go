package kernel

import (
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// DeleteFlow is one request of ForgetFlows.
func DeleteFlow(ns *Namespace, f *netlink.ConntrackFlow) error {
	return Do(ns, func() error {
		s, err := nl.Subscribe(unix.NETLINK_NETFILTER)
		if err != nil {
			return err
		}
		defer s.Close()
		return deleteFlow(s, f)
	})
}
