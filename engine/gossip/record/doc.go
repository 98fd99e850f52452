// Package record holds the two messages of Docker Swarm's gossip tables as
// generated Go types.
//
// It knows field numbers and nothing else: package gossip decides what a valid
// row is. Regenerate with `go generate`, which needs protoc and
// google.golang.org/protobuf/cmd/protoc-gen-go at v1.36.9 on the PATH.
package record

//go:generate protoc -I../../.. --go_out=../../.. --go_opt=paths=source_relative engine/gossip/record/gossip_record.proto
