// Package kernel is the narrow door to Linux that the data-path packages share:
// network namespaces, work done inside one of them, sysctls, netlink handles,
// batched netlink writes, references to processes, and the question what this
// kernel and this process are able to do.
//
// A namespace lives as a file in a directory of the caller's own, onto which
// the namespace is bind-mounted; it is never put into the shared /run/netns,
// where one wrong unmount takes everybody's. Such a file outlives the process,
// so that a restart finds it by name, and is gone after Remove. The kernel
// tears a namespace down asynchronously: what must be free at once (a VXLAN
// device and its VNI) has to be deleted by its owner before.
//
// The package decides nothing about networks. Which devices, addresses and
// entries there should be is for link, peer, mesh and esp to say.
package kernel
