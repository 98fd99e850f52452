// Package dockerapi serves the Docker Engine API, versions 1.24 to 1.51, over
// the Backends it declares.
//
// It owns what is HTTP and what is Docker's dialect of it: routes, versions,
// query parameters, bodies, filters, status codes, wording, and the framing of
// streams. What a container, a network or a swarm is, the backends decide.
//
// One table (routes.go and its parts) names every endpoint of dockerd 28.5.2.
// An endpoint the engine lacks answers 501 and says what is missing; a path
// Docker does not have, or a method it does not have there, answers 404 "page
// not found", as dockerd does. docs/compatibility.md is generated from that
// table.
//
// A Server keeps nothing between requests. Streams (events, logs, attach,
// wait) end when their client goes; a panic costs its request, not the engine.
package dockerapi
