// Package container holds the `container` commands and, but for inspect and
// prune, their short forms at the top level.
//
// It turns flags into Docker's container configuration (flags.go and a file for
// each family of flags), carries a container's streams to the terminal and back
// (stream.go), signals to the container (signals.go) and files both ways
// (cp.go), and follows what containers use (stats.go). It owns no connection:
// every command states the API calls it makes as an interface and is given a
// client that has them.
//
// Flags, defaults, wording and exit codes are those of docker 28.5.2
// (github.com/docker/cli, cli/command/container). Tests hold requests, output
// and errors to those of the docker that is installed and to a record of them.
// Left out, and so refused, are the flags that need Windows, content trust and
// --use-api-socket.
package container
