package container

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/events"
)

// statsPatience is after how long without news a container's numbers are not
// shown any more.
const statsPatience = 2 * time.Second

// errNoStats is of a container that nothing was heard of.
var errNoStats = errors.New("timeout waiting for stats")

// statsFeed keeps the last sample of each of some containers. It is safe for
// concurrent use.
type statsFeed struct {
	api    statsAPI
	stream bool
	runs   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	sources []*statsSource
}

// statsSource is one container: the fields are guarded by its feed.
type statsSource struct {
	id     string
	cancel func()
	heard  chan struct{} // closed with the first sample, or when there is none to come
	once   sync.Once
	sample statsSample
	err    error
}

func newStatsFeed(api statsAPI, stream bool) *statsFeed { return &statsFeed{api: api, stream: stream} }

// wait waits for everything that the feed runs; its contexts must be at their
// ends.
func (f *statsFeed) wait() { f.runs.Wait() }

// add begins with a container, unless it is among those already.
func (f *statsFeed) add(ctx context.Context, id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(f.sources, func(s *statsSource) bool { return s.id == id }) {
		return
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &statsSource{id: id, cancel: cancel, heard: make(chan struct{}), sample: statsSample{container: id}}
	f.sources = append(f.sources, s)
	f.runs.Add(1)
	go func() {
		defer f.runs.Done()
		defer cancel()
		defer s.once.Do(func() { close(s.heard) })
		f.collect(ctx, s)
	}()
}

func (f *statsFeed) remove(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sources = slices.DeleteFunc(f.sources, func(s *statsSource) bool {
		if s.id == id {
			s.cancel()
		}
		return s.id == id
	})
}

// collect takes samples until the context ends, or once.
func (f *statsFeed) collect(ctx context.Context, s *statsSource) {
	response, err := f.api.ContainerStats(ctx, s.id, f.stream)
	if err != nil {
		f.invalidate(s, err)
		return
	}
	defer response.Body.Close() //nolint:errcheck // given up
	samples := make(chan container.StatsResponse)
	f.runs.Add(1)
	go func() {
		defer f.runs.Done()
		defer close(samples)
		decoder := json.NewDecoder(response.Body)
		for {
			var v container.StatsResponse
			if decoder.Decode(&v) != nil {
				return
			}
			select {
			case samples <- v:
			case <-ctx.Done():
				return
			}
		}
	}()
	patience := time.NewTicker(statsPatience)
	defer patience.Stop()
	for incoming := samples; ; {
		select {
		case <-ctx.Done():
			return
		case v, ok := <-incoming:
			if !ok { // nothing comes any more, but the container is still shown
				incoming = nil
				continue
			}
			f.set(s, newStatsSample(s.id, v))
			patience.Reset(statsPatience)
		case <-patience.C:
			f.invalidate(s, errNoStats)
		}
		s.once.Do(func() { close(s.heard) })
		if !f.stream {
			return
		}
	}
}

func (f *statsFeed) set(s *statsSource, sample statsSample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.sample, s.err = sample, nil
}

// invalidate leaves of a container who it is.
func (f *statsFeed) invalidate(s *statsSource, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.err = err
	s.sample = statsSample{container: s.sample.container, id: s.sample.id, name: s.sample.name, invalid: true}
}

// awaitFirst waits until each container was heard of.
func (f *statsFeed) awaitFirst(ctx context.Context) {
	f.mu.Lock()
	sources := slices.Clone(f.sources)
	f.mu.Unlock()
	for _, s := range sources {
		select {
		case <-s.heard:
		case <-ctx.Done():
			return
		}
	}
}

// err gives what went wrong with containers, in their order.
func (f *statsFeed) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, s := range f.sources {
		errs = append(errs, s.err)
	}
	return errors.Join(errs...)
}

func (f *statsFeed) samples() []statsSample {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]statsSample, 0, len(f.sources))
	for _, s := range f.sources {
		list = append(list, s.sample)
	}
	return list
}

// watch follows containers that start and, unless all are wanted, leaves those
// that end. The channel gets the error that the events end with.
func (f *statsFeed) watch(ctx context.Context, all bool, messages <-chan events.Message, errs <-chan error) <-chan error {
	ended := make(chan error, 1)
	f.runs.Add(1)
	go func() {
		defer f.runs.Done()
		for {
			select {
			case <-ctx.Done():
				return
			case err := <-errs:
				ended <- err
				return
			case m := <-messages:
				switch {
				case m.Actor.ID == "":
				case m.Action == events.ActionStart, all && m.Action == events.ActionCreate:
					f.add(ctx, m.Actor.ID)
				case !all && m.Action == events.ActionDie:
					f.remove(m.Actor.ID)
				}
			}
		}
	}()
	return ended
}
