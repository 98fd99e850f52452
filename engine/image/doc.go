// Package image keeps the images of this node and the root file systems made
// of them.
//
// Content, metadata, leases and snapshots are containerd's, by its own Go
// packages: those of a containerd that runs, or the same code in this process
// over a directory of the engine's. What is done here is what Docker has and
// containerd has not: image IDs, short names, dangling images, `import`, and
// the refusal of layers that are meant to do harm.
package image
