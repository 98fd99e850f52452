// Package cluster is a swarm as guarded workflows see it and change it, over a
// manager's Docker API.
//
// It gives the interfaces of wizard and its flows what they need. Service specs
// and networks pass through it as the JSON the engine gave. Every request has a
// deadline of its own, and none is repeated: whether that is safe the workflow
// knows.
package cluster
