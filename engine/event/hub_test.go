package event_test

import (
	"strconv"
	"testing"
	"time"

	"weft/engine/event"
	"weft/engine/model"
)

func clock() func() time.Time {
	t := time.Unix(1000, 0)
	return func() time.Time { t = t.Add(time.Second); return t }
}

func TestSubscribe(t *testing.T) {
	h := event.NewHub(clock())
	for i := range event.Retained + 10 {
		h.Publish(model.Event{Action: strconv.Itoa(i)})
	}
	past, next, cancel := h.Subscribe(time.Unix(1, 0))
	if len(past) != event.Retained || past[0].Action != "10" {
		t.Fatalf("past has %d events from %q", len(past), past[0].Action)
	}
	h.Publish(model.Event{Action: "new"})
	if e := <-next; e.Action != "new" || e.Time.IsZero() {
		t.Errorf("got %+v", e)
	}
	cancel()
	cancel()
	if _, open := <-next; open {
		t.Error("channel still open after cancel")
	}
	if past, _, cancel := h.Subscribe(time.Time{}); len(past) != 0 {
		t.Errorf("a subscriber that asked for no past got %d events", len(past))
	} else {
		cancel()
	}
	since := time.Unix(1000+event.Retained+9, 0)
	if past, _, cancel := h.Subscribe(since); len(past) != 3 {
		t.Errorf("%d events since %v, want 3", len(past), since)
	} else {
		cancel()
	}
}

func TestSlowSubscriberIsDropped(t *testing.T) {
	h := event.NewHub(clock())
	_, next, cancel := h.Subscribe(time.Time{})
	defer cancel()
	n := 0
	for ; n < 100000; n++ { // far more than any queue
		h.Publish(model.Event{})
		if len(next) < n { // closed: nothing is queued any more
			break
		}
	}
	got := 0
	for range next {
		got++
	}
	if got == 0 || got >= n+2 {
		t.Errorf("read %d of %d events before the channel closed", got, n)
	}
}
