package container

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"
)

// parallel is how many containers are worked on at once, as docker does.
const parallel = 50

// each does something to every container, several at once, and gives the
// errors in the order of the names.
func each(ctx context.Context, names []string, do func(ctx context.Context, name string) error) []error {
	results := make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(parallel)
	for i, name := range names {
		group.Go(func() error {
			results[i] = do(ctx, name)
			return nil
		})
	}
	_ = group.Wait() // every error is in results
	return results
}

// report prints the names of those containers it was done to and joins the
// errors of the others.
func report(out io.Writer, names []string, results []error) error {
	for i, name := range names {
		if results[i] == nil {
			fmt.Fprintln(out, name)
		}
	}
	return errors.Join(results...)
}
