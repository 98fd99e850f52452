package mesh

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"weft/engine/kernel"
	"weft/engine/model"
	"weft/engine/nft"
)

// errNoNetwork says that a host was not told of the ingress network.
var errNoNetwork = errors.New("the ingress network is not known")

// hostLayout has tasks at their aliases and at their own ports: nothing is left
// to be translated there.
func (h *Host) hostLayout() layout {
	a, node := model.AliasesOf(h.Network.Addr), h.Network.Addr.Addr()
	return layout{v4: nft.AddrPortV4, v6: nft.AddrPortV6, places: func(b Backend) (v4, v6 nft.Element) {
		v4 = nft.Element{Value: a.V4(node, b.Addr), Port: b.Target}
		if h.IPv6 && b.AddrV6.IsValid() {
			v6 = nft.Element{Value: a.V6(node, b.Addr), Port: b.Target}
		}
		return v4, v6
	}}
}

// straight gives the service whose flows go straight to its tasks, one without
// backends where they go by the ingress sandbox: those of other protocols,
// whose tasks are told of the client by marks, and those to tasks that are to
// see the node or know no aliases.
func (h *Host) straight(s Service) Service {
	none := Service{Port: s.Port}
	if !h.plugged() || s.Proto != unix.IPPROTO_TCP || s.Masquerade {
		return none
	}
	place := h.hostLayout().places
	for _, b := range s.Backends {
		if v4, _ := place(b); b.Foreign || b.Target == 0 || !v4.Value.IsValid() {
			return none
		}
	}
	return s
}

// Indirect tells why no flow goes straight to its task; nil: they do.
func (h *Host) Indirect() error { return h.indirect }

// plugged reports whether the host has its leg in the ingress network.
func (h *Host) plugged() bool { return h.indirect == nil }

// Forget ends the flows that went straight to tasks that are gone, by their
// IPv4 addresses.
func (h *Host) Forget(tasks []netip.Addr) error {
	if !h.plugged() {
		return nil
	}
	a, node := model.AliasesOf(h.Network.Addr), h.Network.Addr.Addr()
	var list []netip.Addr
	for _, t := range tasks {
		if v4 := a.V4(node, t); v4.IsValid() {
			list = append(list, v4, a.V6(node, t))
		}
	}
	return kernel.ForgetFlows(h.Namespace, list...)
}
