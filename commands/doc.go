// Package commands is the command line: the root command, its help texts, and
// Main, which runs one invocation and turns its outcome into an exit code.
//
// The commands themselves live in a package per noun below it. Main alone
// prints errors and decides codes:
//
//	0        done, or the user was asked and said no
//	1        an error
//	10 to 13 the outcome of a guarded workflow
//	64       a --format template that does not parse
//	125      wrong usage, or a container that could not be made
//	128+n    ended by signal n
//
// and whatever code a container run in the foreground ended with.
package commands
