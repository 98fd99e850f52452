// Package service holds the `service` commands: create, ls, ps, inspect, rm,
// scale, update, rollback and logs.
//
// It turns flags into Docker's service specification and a service into
// tables, text and JSON. It owns no connection: every command states the few
// API calls it makes as an interface and is given a client that has them. How
// a service's convergence is followed is package progress's business.
//
// Flags, defaults, wording and exit codes are those of docker 28.5.2
// (github.com/docker/cli, cli/command/service). `create` builds a whole
// specification (spec.go); `update` edits the one the daemon holds, and only
// where a flag was given (edit*.go). Both bind the same flags (flags.go).
package service
