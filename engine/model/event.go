package model

import "time"

// Event is something that happened to an object, in the terms of Docker's
// `GET /events`.
type Event struct {
	Type       string // container, network, service, node, daemon, ...
	Action     string // create, start, die, connect, remove, ...
	ActorID    string
	Attributes map[string]string
	Scope      Scope
	Time       time.Time
}
