// Package attachment gives what is not a container a leg on the networks of
// this node: a process, a network namespace somebody else has made, a virtual
// machine behind a TAP device.
//
// An attachment belongs to its holder and ends with it: with the process
// (pidfd_open(2)), with the name of the namespace (the mounts are watched), with
// the TAP device (the links are). A namespace is held by a mount of the
// engine's own meanwhile, so that neither a PID nor a path that comes to mean
// something else can confuse what is whose. Records are written before what
// they describe exists and deleted after it is gone: Restore takes back what is
// still held after a crash, Settle removes the rest. The TAP devices, and the
// files for resolvers that were asked for, are made and removed here; the legs,
// addresses and names are others', declared as interfaces.
package attachment
