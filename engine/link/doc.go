// Package link makes the network devices of an overlay network: bridges, VXLAN
// devices, and the veth pair that plugs a sandbox into a bridge.
//
// Every device is described by a spec with its name in it. Ensure brings the
// kernel there: a device that matches is adopted untouched (a restart must not
// cut a connection), what can be changed on a live device is changed (MTU,
// addresses, bridge membership), and only a device that is something else is
// made anew. A failed Ensure removes what it made.
//
// All devices of one namespace carry the Group, by which RemoveAll takes them
// away in one request; the kernel waits for its readers once instead of once
// per device. Which devices there should be, and their names, the package
// leaves to its caller.
package link
