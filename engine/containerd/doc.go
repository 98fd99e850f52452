// Package containerd speaks to a containerd daemon through its Go client: it
// has runc make, signal and delete the processes of containers, each below a
// shim of containerd's (io.containerd.runc.v2).
//
// It owns nothing but a connection. Who creates a container deletes it with
// Purge; containerd keeps it, and how it ended, until then, over its own
// restarts and the caller's. Images, root file systems, networks and what
// becomes of output are the caller's: output goes to FIFOs of the caller's,
// of which containerd's shim holds both ends, so that it waits there while
// nobody reads. Calls wait for a daemon that is away until their context ends.
//
// Tested with containerd 1.6 and runc 1.1, those of Debian 12.
package containerd
