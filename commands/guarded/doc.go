// Package guarded is the frame of all commands that carry out a guarded
// workflow: the flags they share, how a plan is shown and agreed to, how a run
// reports, and which exit code it ends with.
package guarded
