// Package runtime runs containers: one shim process per container, and an
// embedded sandbox for the image that is built into this program.
//
// A Runtime owns, per container, a bundle directory (what to run, the log, how
// it ended: persistent) and a run directory (the shim's socket: gone after a
// reboot). The shim is this program under the name ShimName. It owns the
// process, its standard streams and its log, survives the engine, and answers
// on its socket to whichever engine comes next; how the process ended is on
// disk, synced, before anyone is told. The process dies with its shim. A shim
// that has delivered everything ends by itself.
//
// Between the shim and the process stands InitName, which builds the sandbox
// and then becomes the process, PID 1 of its own PID namespace: a root of its
// own in memory, read-only, with this program as the only file that can be
// executed; no new privileges, two capabilities, a system call filter.
//
// The package makes no network: it enters the namespace it is given, and makes
// an isolated one when it is given none. It pulls no image and sets no resource
// limit. Terminals are refused as unsupported.
package runtime
