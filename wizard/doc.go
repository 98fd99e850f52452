// Package wizard carries out guarded workflows: changes of a cluster that take
// several steps with an outage in the middle, and that must end either done or
// taken back, whatever happens on the way.
//
// A Flow is a kind of workflow. It observes the cluster and makes a Plan, which
// is a value: it can be printed, kept as a file, compared and applied by another
// process. A Runner executes the plan's steps one after another, with a record
// in a journal before and after each, under a lock that the whole cluster sees.
// A run that was cut off is open: any later process can Resume it or Rollback
// it from the journal alone.
//
// The package is headless. It draws nothing, asks nothing and opens no
// connection: what it has to tell are Events, what it needs of the cluster are
// the Flow and the Lock it is given.
package wizard
