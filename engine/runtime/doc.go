// Package runtime runs containers: one shim process per container, which makes
// the container's processes itself or has containerd make them.
//
// A Runtime owns, per container, a bundle directory (what to run, the log, how
// it ended: persistent) and a run directory (the shim's socket: gone after a
// reboot). The shim is this program under the name ShimName. It owns the
// process, its standard streams and its log, survives the engine, and answers
// on its socket to whichever engine comes next; how the process ended is on
// disk, synced, before anyone is told. A shim that has delivered everything
// ends by itself.
//
// Without containerd the process dies with its shim. Between the two stands
// InitName, which builds the sandbox and then becomes the process, PID 1 of its
// own PID namespace, in the root file system of its image; that of the built-in
// image is in memory, read-only, with this program as the only file that can be
// executed.
//
// With containerd the process goes on when its shim dies: whoever asks for the
// container's state next starts another shim, which adopts it. Its streams are
// FIFOs that containerd's own shim keeps open meanwhile.
//
// The package makes no network: it enters the namespace it is given, and makes
// an isolated one when it is given none. It pulls no image: how a root file
// system is mounted comes with the container.
package runtime
