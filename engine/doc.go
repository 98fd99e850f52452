// Package engine is weft's built-in overlay engine: it builds the parts below
// it, connects them, and owns the order in which they start and stop.
//
//	dockerapi -> Engine -> control (SwarmKit)   who runs what, and where
//	                    -> workload             containers of this node
//	                    -> networks             overlay (kernel) + gossip (peers)
//	                    -> store                what survives the process
//
// An Engine makes no kernel object itself. On a clean stop every container is
// stopped and every namespace, link and address it made is gone; after a crash
// the next Run finds containers and networks as they are, adopts what is still
// wanted and removes the rest.
package engine
