// Package event distributes the engine's events to whoever listens.
//
// It keeps the last few hundred in memory for subscribers that ask for the
// past, as dockerd does; nothing of it outlives the engine.
package event

import (
	"sync"
	"time"

	"weft/engine/model"
)

// Retained is how many past events a Hub keeps; dockerd keeps 256 as well
// (daemon/events/events.go, eventsLimit).
const Retained = 256

// queued is how many events a slow subscriber may lag behind before it is
// dropped: more than one burst of a service with a thousand tasks.
const queued = 4096

// Hub fans events out. Its zero value is not usable; call NewHub.
// It is safe for concurrent use.
type Hub struct {
	now func() time.Time

	mu   sync.Mutex // guards past and subs
	past []model.Event
	subs map[chan model.Event]struct{}
}

// NewHub makes a hub that stamps events by now.
func NewHub(now func() time.Time) *Hub {
	return &Hub{now: now, subs: map[chan model.Event]struct{}{}}
}

// Publish stamps e, unless it has a time, and hands it to every subscriber
// without waiting for any: one whose queue is full is dropped.
func (h *Hub) Publish(e model.Event) {
	if e.Time.IsZero() {
		e.Time = h.now()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past = append(h.past, e)
	if len(h.past) > Retained {
		h.past = h.past[len(h.past)-Retained:]
	}
	for ch := range h.subs {
		select {
		case ch <- e:
		default:
			delete(h.subs, ch)
			close(ch)
		}
	}
}

// Subscribe gives the retained events not older than since (none when since is
// zero) and a channel of those to come. cancel closes the channel; calling it
// twice is harmless.
func (h *Hub) Subscribe(since time.Time) (past []model.Event, next <-chan model.Event, cancel func()) {
	ch := make(chan model.Event, queued)
	h.mu.Lock()
	defer h.mu.Unlock()
	if !since.IsZero() {
		for _, e := range h.past {
			if !e.Time.Before(since) {
				past = append(past, e)
			}
		}
	}
	h.subs[ch] = struct{}{}
	return past, ch, func() { h.drop(ch) }
}

func (h *Hub) drop(ch chan model.Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.subs[ch]; ok {
		delete(h.subs, ch)
		close(ch)
	}
}
