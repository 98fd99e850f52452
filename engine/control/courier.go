package control

import (
	"context"
	"sync"
	"time"
)

// courier hands the newest of a value to the host, and repeats what fails: the
// agent that has the value must not wait for the host, and tells it only once.
type courier[T any] struct {
	mu     sync.Mutex // makes the exchange of the newest one step
	newest chan T
}

func newCourier[T any]() *courier[T] { return &courier[T]{newest: make(chan T, 1)} }

// send replaces what was not handed over yet. It does not block.
func (c *courier[T]) send(v T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.newest:
	default:
	}
	c.newest <- v
}

// run hands values over until ctx ends. A value that fails is tried again with
// a growing delay, unless a newer one has come.
func (c *courier[T]) run(ctx context.Context, hand func(context.Context, T) error) {
	var v T
	pending := false
	retry := time.NewTimer(0)
	defer retry.Stop()
	delay := firstDelay
	for {
		select {
		case v = <-c.newest:
			pending, delay = true, firstDelay
		case <-retry.C:
		case <-ctx.Done():
			return
		}
		if !pending {
			continue
		}
		if err := hand(ctx, v); err == nil {
			pending = false
			continue
		}
		delay = min(2*delay, lastDelay)
		retry.Reset(delay)
	}
}
