// Package guided leads a person through a guarded workflow: the answers, the
// plan, what was found, the hazards one by one, the agreement, the run and its
// report. It decides nothing of the workflow itself: it shows the values of
// package wizard and calls its Driver, behind which the commands do the same
// things without it.
package guided
