package model

import (
	"net/netip"
	"time"
)

// AttachRequest asks for a leg on a network for what is not a container: a
// process, a network namespace or a virtual machine, one of the three. It is
// the body of POST /weft/v1/attachments.
type AttachRequest struct {
	Network string // name, ID or its beginning

	Pid   int    `json:",omitempty"` // of the process whose namespace it is, as the engine sees it
	NetNS string `json:",omitempty"` // path of a namespace, or its name under /run/netns
	Tap   string `json:",omitempty"` // name of the TAP device to make
	User  int    `json:",omitempty"` // UID of who may open the TAP device besides root

	Name       string     `json:",omitempty"` // by which others find it; empty: of what it is
	Aliases    []string   `json:",omitempty"`
	Addr       netip.Addr `json:"Address,omitzero"`
	AddrV6     netip.Addr `json:"IPv6Address,omitzero"`
	ResolvConf string     `json:",omitempty"` // file to make, for who has the namespace
}

// Holder is what an attachment is for, and ends with.
func (r AttachRequest) Holder() Holder {
	return Holder{Pid: r.Pid, NetNS: r.NetNS, Tap: r.Tap}
}

// Holder is what is attached: exactly one field is set.
type Holder struct {
	Pid   int    `json:",omitempty"`
	NetNS string `json:",omitempty"` // path
	Tap   string `json:",omitempty"` // name of the device
}

// NetworkAttachment is such a leg, as the API under /weft/v1/attachments has
// it.
type NetworkAttachment struct {
	ID   string // 64 hex digits
	Name string
	Holder

	Network   string // name
	NetworkID string
	Driver    string
	Aliases   []string       `json:",omitempty"`
	Interface string         `json:",omitempty"` // in the namespace; none with a virtual machine
	Address   netip.Prefix   // IPv4, with the subnet's prefix length
	AddressV6 netip.Prefix   `json:"IPv6Address,omitzero"`
	Gateway   netip.Addr     `json:",omitzero"` // the network's own router
	GatewayV6 netip.Addr     `json:"IPv6Gateway,omitzero"`
	Routes    []netip.Prefix `json:",omitempty"` // what else the gateways lead to
	MAC       string         `json:"MacAddress"`
	MTU       int            // bytes
	// Resolver is where the names of the network are asked for; zero where
	// there are none.
	Resolver   netip.Addr `json:",omitzero"`
	ResolvConf string     `json:",omitempty"` // the file made
	Created    time.Time
}
