// Package progress follows a service until its tasks are as specified and
// have stayed so for the service's monitoring period, and shows on the way
// what each task is doing.
//
// It only reads: the service, its tasks and the nodes, five times a second. It
// knows nothing of flags; a command makes a Watcher and calls Wait. A Watcher
// serves one Wait. Output is docker's: a line per slot or node with a bar on a
// terminal, plain lines elsewhere (where, other than docker, a line that says
// what the line before said is left out).
package progress
