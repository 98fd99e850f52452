package lab

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"
)

// Engine states of a Status.
const (
	EngineReady   = "ready"         // its API answers
	EngineSilent  = "not answering" // the host is on, the API does not answer
	EngineOff     = "off"           // the host is off
	EngineNone    = "none"          // the host is on and serves no API
	engineTimeout = 2 * time.Second
)

// Status is how a host is at the moment.
type Status struct {
	Host
	PID     int      // of its PID 1, seen from here; 0: the host is off
	Engine  string   // one of the states above
	CutFrom []string // hosts a partition separates it from
}

// Status gives all hosts of a lab.
func (l *Lab) Status(ctx context.Context) ([]Status, error) {
	st, err := l.load()
	if err != nil {
		return nil, err
	}
	cut, err := l.Partitions()
	if err != nil {
		return nil, err
	}
	all := make([]Status, len(st.Hosts))
	var wg sync.WaitGroup
	for i, h := range st.Hosts {
		s := &all[i]
		s.Host = h
		for _, p := range cut {
			switch h.Name {
			case p.A:
				s.CutFrom = append(s.CutFrom, p.B)
			case p.B:
				s.CutFrom = append(s.CutFrom, p.A)
			}
		}
		p, on, err := find(h)
		if err != nil {
			return nil, err
		}
		if on {
			s.PID = p.pid
			p.close()
		}
		wg.Go(func() { s.Engine = s.askEngine(ctx) })
	}
	wg.Wait()
	return all, nil
}

func (s *Status) askEngine(ctx context.Context) string {
	switch {
	case s.PID == 0:
		return EngineOff
	case s.Socket() == "":
		return EngineNone
	case answers(ctx, s.Socket()):
		return EngineReady
	default:
		return EngineSilent
	}
}

// answers reports whether a Docker API answers on a socket.
func answers(ctx context.Context, socket string) bool {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://lab/_ping", http.NoBody)
	if err != nil {
		return false
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
