// Package ingress is the guarded workflow that replaces a swarm's ingress
// network by another with other addresses, options or name.
//
// A swarm has one ingress network. It can be removed only while no service
// publishes a port through it, and a node that is still using it when it goes
// keeps a ruin of it that breaks the next one. So the workflow takes the
// published ports off, waits until no task holds an endpoint of the network,
// removes it, waits for the nodes, creates the new one, waits for the nodes, and
// puts the ports back as they were. Every step has its counterpart, and the way
// back is the same way.
//
// Service specs are handled as the raw JSON the engine gave: what this version
// of weft knows nothing of stays in them. Only the published ports, and with the
// strategy ScaleToZero the number of replicas, are changed, and only where
// nobody else has changed them meanwhile.
package ingress
