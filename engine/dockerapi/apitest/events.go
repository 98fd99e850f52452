package apitest

import (
	"sync"
	"time"

	"weft/engine/model"
)

// queued is how many events a subscriber may lag behind.
const queued = 1024

// events keeps all events, and the subscribers.
type events struct {
	mu   sync.Mutex // guards what follows
	past []model.Event
	next map[chan model.Event]struct{}
}

func (s *events) publish(e model.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.past = append(s.past, e)
	for ch := range s.next {
		select {
		case ch <- e:
		default:
			delete(s.next, ch)
			close(ch)
		}
	}
}

// Subscribe is dockerapi.Events.
func (s *events) Subscribe(since time.Time) ([]model.Event, <-chan model.Event, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var past []model.Event
	for _, e := range s.past {
		if !since.IsZero() && !e.Time.Before(since) {
			past = append(past, e)
		}
	}
	if s.next == nil {
		s.next = map[chan model.Event]struct{}{}
	}
	ch := make(chan model.Event, queued)
	s.next[ch] = struct{}{}
	return past, ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, ok := s.next[ch]; ok {
			delete(s.next, ch)
			close(ch)
		}
	}
}

// Publish announces an event of the time now.
func (e *Engine) Publish(ev model.Event) {
	ev.Time = e.now()
	e.events.publish(ev)
}

// Subscribers is how many streams of events are open.
func (e *Engine) Subscribers() int {
	e.events.mu.Lock()
	defer e.events.mu.Unlock()
	return len(e.events.next)
}
