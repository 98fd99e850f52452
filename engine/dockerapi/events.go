package dockerapi

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
	timetypes "github.com/docker/docker/api/types/time"

	"weft/engine/fault"
	"weft/engine/model"
)

func (s *Server) events(w *response, r *request) error {
	since, until, err := eventWindow(r)
	if err != nil {
		return err
	}
	f, err := r.filters()
	if err != nil {
		return err
	}
	past, next, cancel := s.cfg.Events.Subscribe(since)
	defer cancel()
	enc := json.NewEncoder(begin(w, "application/json"))
	for _, e := range past {
		if !until.IsZero() && e.Time.After(until) {
			continue
		}
		if err := sendEvent(enc, f, e); err != nil {
			return err
		}
	}
	var end <-chan time.Time
	if !until.IsZero() {
		left := until.Sub(s.cfg.Now())
		if left <= 0 {
			return nil
		}
		timer := time.NewTimer(left)
		defer timer.Stop()
		end = timer.C
	}
	return forwardEvents(r, enc, f, next, end)
}

// forwardEvents sends what comes until end, or the client goes.
func forwardEvents(r *request, enc *json.Encoder, f filters.Args, next <-chan model.Event, end <-chan time.Time) error {
	for {
		select {
		case e, ok := <-next:
			if !ok {
				return nil // dropped for being slow: the end of the stream tells the client
			}
			if err := sendEvent(enc, f, e); err != nil {
				return err
			}
		case <-end:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// eventWindow reads the times a client asks for: a zero since means no past, a
// zero until no end. An end alone asks for all that is kept until then.
func eventWindow(r *request) (since, until time.Time, err error) {
	if since, err = timestamp(r.query.Get("since")); err != nil {
		return since, until, err
	}
	if until, err = timestamp(r.query.Get("until")); err != nil || until.IsZero() {
		return since, until, err
	}
	if until.Before(since) {
		return since, until, fault.Invalid("`since` time (%s) cannot be after `until` time (%s)", r.query.Get("since"), r.query.Get("until"))
	}
	if since.IsZero() {
		since = time.Unix(0, 1)
	}
	return since, until, nil
}

// timestamp reads a time as Docker's clients send it: seconds, a dot,
// nanoseconds. Empty is the zero time.
func timestamp(v string) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	sec, nano, err := timetypes.ParseTimestamps(v, 0)
	if err != nil {
		return time.Time{}, fault.Invalid("invalid time %q: %w", v, err)
	}
	return time.Unix(sec, nano), nil
}

func sendEvent(enc *json.Encoder, f filters.Args, e model.Event) error {
	m := eventMessage(e)
	if !eventMatches(f, m) {
		return nil
	}
	return enc.Encode(m)
}

func eventMessage(e model.Event) events.Message {
	m := events.Message{
		Type: events.Type(e.Type), Action: events.Action(e.Action),
		Actor: events.Actor{ID: e.ActorID, Attributes: e.Attributes},
		Scope: string(e.Scope), Time: e.Time.Unix(), TimeNano: e.Time.UnixNano(),
	}
	if m.Actor.Attributes == nil {
		m.Actor.Attributes = map[string]string{}
	}
	if m.Type == events.ContainerEventType { // the fields of API 1.21 and before, sent to this day
		m.Status, m.ID, m.From = e.Action, e.ActorID, e.Attributes["image"] //nolint:staticcheck // deprecated, and what clients read
	}
	return m
}

// eventMatches applies the filters of `docker events`
// (daemon/events/filter.go).
func eventMatches(f filters.Args, m events.Message) bool {
	match := f.ExactMatch
	if slices.ContainsFunc(f.Get("event"), func(v string) bool {
		return v == "health_status" || v == "exec_create" || v == "exec_start"
	}) {
		match = f.FuzzyMatch // these actions go on after a colon
	}
	if !match("event", string(m.Action)) || !f.ExactMatch("type", string(m.Type)) || !f.ExactMatch("scope", m.Scope) {
		return false
	}
	for _, t := range []events.Type{
		events.DaemonEventType, events.ContainerEventType, events.PluginEventType, events.VolumeEventType, events.NetworkEventType,
		events.NodeEventType, events.ServiceEventType, events.SecretEventType, events.ConfigEventType,
	} {
		if !f.FuzzyMatch(string(t), m.Actor.ID) && !f.FuzzyMatch(string(t), m.Actor.Attributes["name"]) {
			return false
		}
	}
	return eventImageMatches(f, m) && f.MatchKVList("label", m.Actor.Attributes)
}

func eventImageMatches(f filters.Args, m events.Message) bool {
	image := m.Actor.Attributes["image"]
	if m.Type == events.ImageEventType {
		image = m.Actor.Attributes["name"]
	}
	return slices.ContainsFunc([]string{m.Actor.ID, image, repository(m.Actor.ID), repository(image)}, func(v string) bool {
		return f.ExactMatch("image", v)
	})
}

// repository is an image's name without its tag.
func repository(image string) string {
	ref, err := reference.ParseNormalizedNamed(strings.TrimSpace(image))
	if err != nil {
		return image
	}
	return reference.FamiliarName(ref)
}
