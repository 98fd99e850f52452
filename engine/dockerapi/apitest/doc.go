// Package apitest is an engine without a kernel: the backends dockerapi needs,
// kept in memory, for tests of the API and of its clients.
//
// It keeps state as the engine does (a swarm to be made or joined, networks
// with addresses, services with tasks, configs, containers that run and end)
// and refuses what the engine refuses, in the same words. A container runs one
// of a few programs, by the first word of its arguments: `echo WORDS` and `err
// WORDS` write a line to one of the two streams and end, `exit N` ends with
// that status, `cat` copies its input, and everything else runs until it is
// signalled.
//
// What it does not do: schedule, enforce placement or quorum, or carry
// packets.
package apitest
