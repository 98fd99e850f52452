package main_test

import (
	"context"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/engine/kernel"
)

// asking is clients that ask all the time, until they are told to stop.
type asking struct {
	stop    chan struct{}
	done    sync.WaitGroup
	dialed  atomic.Int64 // connections to be kept
	clients []*http.Client
}

// newAsking has nobody ask yet, nor after the test.
func newAsking(t *testing.T) *asking {
	a := &asking{stop: make(chan struct{})}
	t.Cleanup(a.quit)
	return a
}

// again has one more client ask again and again.
func (a *asking) again(one func()) {
	a.done.Go(func() {
		for {
			select {
			case <-a.stop:
				return
			default:
				one()
			}
		}
	})
}

// quit stops them all.
func (a *asking) quit() {
	select {
	case <-a.stop:
		return
	default:
		close(a.stop)
	}
	a.done.Wait()
	for _, c := range a.clients {
		c.CloseIdleConnections()
	}
}

// client gives a client of HTTP in a namespace, which keeps its connection or
// has a new one for each request.
func (a *asking) client(from *kernel.Namespace, keeps bool, timeout time.Duration) *http.Client {
	c := &http.Client{Timeout: timeout, Transport: &http.Transport{
		DisableKeepAlives: !keeps,
		DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			if keeps {
				a.dialed.Add(1)
			}
			err = kernel.Do(from, func() (err error) {
				c, err = (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
				return err
			})
			return c, err
		},
	}}
	a.clients = append(a.clients, c)
	return c
}
