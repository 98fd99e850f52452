// Package container holds the `container` commands and their short forms at
// the top level: run, create, start, attach, stop, kill, rm, ps, inspect,
// logs, port, rename and wait.
//
// It turns flags into Docker's container configuration (flags.go, network.go,
// ports.go), carries a container's streams to the terminal and back
// (stream.go) and signals to the container (signals.go). It owns no
// connection: every command states the API calls it makes as an interface and
// is given a client that has them.
//
// Flags, defaults, wording and exit codes are those of docker 28.5.2
// (github.com/docker/cli, cli/command/container). What `run` cannot pass on to
// the daemon is not a flag here, so that it is refused and not ignored.
package container
