package swarmtest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
)

// Fault is a way for a request to fail.
type Fault int

// The faults. What an operation does to the swarm happens before an answer is
// lost with the faults that end in After, and not at all with the others.
const (
	ServerError   Fault = iota + 1 // status 500, as from a daemon that is confused
	Unavailable                    // status 503, as from a swarm that has lost its leader
	NoAnswer                       // no answer, until the client leaves
	NoAnswerAfter                  // the same, when it is done
	Cut                            // the connection is cut
	CutAfter                       // the same, when it is done
	CutAnswer                      // the same, in the middle of the answer
)

// Faults gives all faults.
func Faults() []Fault {
	return []Fault{ServerError, Unavailable, NoAnswer, NoAnswerAfter, Cut, CutAfter, CutAnswer}
}

// String gives the name of a fault.
func (f Fault) String() string {
	names := []string{"", "server error", "unavailable", "no answer", "no answer after", "cut", "cut after", "cut answer"}
	return names[f]
}

// Takes tells whether a request that fails so takes effect.
func (f Fault) Takes() bool { return f == NoAnswerAfter || f == CutAfter || f == CutAnswer }

// Match says which requests count.
type Match func(Request) bool

// On matches requests by method, if any, and path, which may have the
// wildcards of path.Match: On("POST", "/services/*/update").
func On(method, pattern string) Match {
	return func(r Request) bool {
		fits, err := path.Match(pattern, r.Path)
		return err == nil && fits && (method == "" || method == r.Method)
	}
}

// Request is one that was made.
type Request struct {
	Node   string // whose API was asked
	Method string
	Path   string // without the API's version
	Query  url.Values
	Body   string
	Header http.Header
	Status int   // of the answer; 0: there was none
	Fault  Fault // 0: none
}

// Writes tells whether the request is one that changes something.
func (r Request) Writes() bool { return r.Method != http.MethodGet && r.Method != http.MethodHead }

// String gives method and path with the query.
func (r Request) String() string {
	text := r.Method + " " + r.Path
	if len(r.Query) > 0 {
		query, err := url.QueryUnescape(r.Query.Encode())
		if err == nil {
			text += "?" + query
		}
	}
	return text
}

// plan waits for one request to come.
type plan struct {
	left  int // matching requests until it happens, with this one
	match []Match
	fault Fault
	times int // how many requests from then on fail
	hook  func()
}

// Fail lets the n-th request from now fail; the next one is the first. With
// matches, only the requests all of them match count.
func (s *Swarm) Fail(n int, f Fault, matches ...Match) {
	s.plan(&plan{left: n, match: matches, fault: f, times: 1})
}

// FailAll lets requests fail as long as the function it gives is not called.
func (s *Swarm) FailAll(f Fault, matches ...Match) (stop func()) {
	p := &plan{left: 1, match: matches, fault: f, times: -1}
	s.plan(p)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		p.times = 0
	}
}

// Restart lets the daemon restart at the n-th request from now: this one takes
// effect if after is true, all connections are cut, and of the requests that
// follow as many as refused says get none. A connection that is refused is cut
// here: for a refusal by the kernel see Stop.
func (s *Swarm) Restart(n, refused int, after bool) {
	first := Cut
	if after {
		first = CutAfter
	}
	s.plan(&plan{left: n, fault: first, times: 1, hook: func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(s.closing) // ends what is held
		s.closing = make(chan struct{})
		s.lead()
		if refused > 0 {
			s.plans = append(s.plans, &plan{left: 1, fault: Cut, times: refused})
		}
	}})
}

// Before runs a function before the n-th request from now is answered: the
// function may change the swarm as somebody else would, with Do and the other
// methods.
func (s *Swarm) Before(n int, f func(), matches ...Match) {
	s.plan(&plan{left: n, match: matches, hook: f})
}

func (s *Swarm) plan(p *plan) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plans = append(s.plans, p)
}

// Requests gives the requests made so far, in order.
func (s *Swarm) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// Count gives the number of requests made so far.
func (s *Swarm) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.log)
}

// ForgetPlans drops what Fail, FailAll, Restart and Before have planned.
func (s *Swarm) ForgetPlans() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plans = nil
}

// due gives the hooks to run for a request, and counts it.
func (s *Swarm) due(r Request) []func() {
	var hooks []func()
	for _, p := range s.plans {
		if p.left > 0 && r.matches(p.match) {
			if p.left--; p.left == 0 && p.hook != nil {
				hooks = append(hooks, p.hook)
			}
		}
	}
	return hooks
}

func (r Request) matches(list []Match) bool {
	return !slices.ContainsFunc(list, func(m Match) bool { return !m(r) })
}

// fault gives the fault that a request meets.
func (s *Swarm) fault(r Request) Fault {
	for _, p := range s.plans {
		if p.left == 0 && p.times != 0 && p.fault != 0 && r.matches(p.match) {
			if p.times > 0 {
				p.times--
			}
			return p.fault
		}
	}
	return 0
}

// serve takes a request through steps, hooks and faults.
func (s *Swarm) serve(w http.ResponseWriter, r *http.Request, c *call) {
	req := Request{Node: c.node.hostname, Method: c.method, Path: c.path, Query: c.query, Body: string(c.body), Header: r.Header}
	s.mu.Lock()
	hooks := s.due(req)
	s.mu.Unlock()
	for _, hook := range hooks {
		hook()
	}
	s.mu.Lock()
	s.tick()
	f := s.fault(req)
	req.Fault = f
	a := fabricated(f)
	if f == 0 || f.Takes() {
		a = s.respond(c)
	}
	if f <= Unavailable {
		req.Status = a.status
	}
	s.log = append(s.log, req)
	s.mu.Unlock()
	switch f {
	case NoAnswer, NoAnswerAfter:
		s.hold(r)
		cut(w, nil)
	case Cut, CutAfter:
		cut(w, nil)
	case CutAnswer:
		cut(w, a.body)
	default:
		s.write(w, r, a)
	}
}

// fabricated is the answer with the faults that have one.
func fabricated(f Fault) answer {
	if f == Unavailable {
		return answer{status: http.StatusServiceUnavailable, body: object{"message": "rpc error: code = Unavailable desc = transport is closing"}}
	}
	return answer{status: http.StatusInternalServerError, body: object{"message": "rpc error: code = Unknown desc = raft: storage failure"}}
}

// cut ends a connection without the end of the answer.
func cut(w http.ResponseWriter, body any) {
	h, hijacks := w.(http.Hijacker)
	if !hijacks {
		return
	}
	conn, buffer, err := h.Hijack()
	if err != nil {
		return // it has ended already
	}
	if body != nil {
		data, err := json.Marshal(body)
		if err == nil {
			_, _ = buffer.WriteString("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n")
			_, _ = buffer.Write(data[:len(data)/2])
			_ = buffer.Flush()
		}
	}
	_ = conn.Close()
}
