// Package fsview runs functions in the file system of a container, as the
// container sees it: `cp`, `export` and the filling of volumes need it.
//
// A function runs on a thread of its own whose root is the container's, so
// that no link in an image, and no process that moves things while they are
// looked at, leads it anywhere else. Of a container that runs it is the mount
// namespace the container is in. Of another one it is a private namespace with
// the root and the mounts in it, which ends with the thread: nothing is
// mounted where others see it, and a crash leaves nothing.
//
// The package knows how to look, not when it is allowed: whoever looks at a
// container that does not run must keep it from being started meanwhile.
package fsview
