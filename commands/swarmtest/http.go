package swarmtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// call is a request on its way through the model.
type call struct {
	node         *node
	method, path string // without the API's version
	id           string // the object the path names
	query        url.Values
	body         []byte
	api          string // the version asked for
	contentType  string
}

// answer is what the API says when nothing is wrong.
type answer struct {
	status int
	body   any // nil: nothing
	text   string
	stream bool // it does not end before the client leaves
	header map[string]string
}

func ok(body any) answer { return answer{status: http.StatusOK, body: body} }

// apiError is what the API says when something is wrong.
type apiError struct {
	status  int
	message string
}

func (e *apiError) Error() string { return e.message }

func failure(status int, format string, args ...any) error {
	return &apiError{status, fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) error { return failure(http.StatusNotFound, format, args...) }

func badRequest(format string, args ...any) error {
	return failure(http.StatusBadRequest, format, args...)
}

// grpc is an error of SwarmKit's as dockerd passes it on.
func grpc(code, format string, args ...any) error {
	status := map[string]int{
		"InvalidArgument": http.StatusBadRequest, "FailedPrecondition": http.StatusBadRequest, "NotFound": http.StatusNotFound,
		"AlreadyExists": http.StatusConflict, "PermissionDenied": http.StatusForbidden, "Unimplemented": http.StatusNotImplemented,
	}[code]
	if status == 0 {
		status = http.StatusInternalServerError
	}
	return failure(status, "rpc error: code = %s desc = %s", code, fmt.Sprintf(format, args...))
}

// route is a path of the API; "*" in it stands for one object.
type route struct {
	method, path string
	manager      bool // only a manager answers
	handle       func(*Swarm, *call) (answer, error)
}

func routes() []route {
	return []route{
		{"GET", "/_ping", false, (*Swarm).ping},
		{"HEAD", "/_ping", false, (*Swarm).ping},
		{"GET", "/version", false, (*Swarm).version},
		{"GET", "/info", false, (*Swarm).info},
		{"GET", "/events", false, (*Swarm).events},
		{"GET", "/swarm", true, (*Swarm).inspectSwarm},
		{"GET", "/nodes", true, (*Swarm).listNodes},
		{"GET", "/nodes/*", true, (*Swarm).inspectNode},
		{"POST", "/nodes/*/update", true, (*Swarm).updateNode},
		{"GET", "/networks", false, (*Swarm).listNetworks},
		{"POST", "/networks/create", false, (*Swarm).createNetwork},
		{"GET", "/networks/*", false, (*Swarm).inspectNetwork},
		{"DELETE", "/networks/*", false, (*Swarm).removeNetwork},
		{"GET", "/services", true, (*Swarm).listServices},
		{"POST", "/services/create", true, (*Swarm).createService},
		{"GET", "/services/*", true, (*Swarm).inspectService},
		{"POST", "/services/*/update", true, (*Swarm).updateService},
		{"DELETE", "/services/*", true, (*Swarm).removeService},
		{"GET", "/tasks", true, (*Swarm).listTasks},
		{"GET", "/tasks/*", true, (*Swarm).inspectTask},
		{"GET", "/configs", true, (*Swarm).listConfigs},
		{"POST", "/configs/create", true, (*Swarm).createConfig},
		{"GET", "/configs/*", true, (*Swarm).inspectConfig},
		{"POST", "/configs/*/update", true, (*Swarm).updateConfig},
		{"DELETE", "/configs/*", true, (*Swarm).removeConfig},
	}
}

// match gives the object a path names, if the path is the route's.
func (r route) match(method, path string) (string, bool) {
	if r.method != method {
		return "", false
	}
	before, after, wild := strings.Cut(r.path, "*")
	if !wild {
		return "", path == r.path
	}
	rest, found := strings.CutPrefix(path, before)
	id, end := strings.CutSuffix(rest, after)
	return id, found && end && id != "" && !strings.Contains(id, "/")
}

// respond answers a request from the model.
func (s *Swarm) respond(c *call) answer {
	a, err := s.dispatch(c)
	if err == nil {
		return a
	}
	status := http.StatusInternalServerError
	var e *apiError
	if errors.As(err, &e) {
		status = e.status
	}
	return answer{status: status, body: object{"message": err.Error()}}
}

func (s *Swarm) dispatch(c *call) (answer, error) {
	if c.api != "" && newer(c.api, s.cfg.api) {
		return answer{}, badRequest("client version %s is too new. Maximum supported API version is %s", c.api, s.cfg.api)
	}
	for _, r := range routes() {
		id, fits := r.match(c.method, c.path)
		if !fits {
			continue
		}
		c.id = id
		if r.manager {
			if err := s.managing(c.node); err != nil {
				return answer{}, err
			}
		}
		return r.handle(s, c)
	}
	return answer{}, notFound("page not found")
}

// managing is nil where a node can answer for the swarm.
func (s *Swarm) managing(n *node) error {
	switch {
	case n.role != "manager":
		return failure(http.StatusServiceUnavailable, "This node is not a swarm manager. Worker nodes can't be used to view or modify "+
			"cluster state. Please run this command on a manager node or promote the current node to a manager.")
	case s.noQuorum:
		return grpc("Unknown", "The swarm does not have a leader. It's possible that too few managers are online. "+
			"Make sure more than half of the managers are online.")
	default:
		return nil
	}
}

// newer compares versions of the API, as "1.41".
func newer(a, b string) bool {
	return minor(a) > minor(b)
}

func minor(version string) int {
	_, text, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}

// atLeast tells whether the request is answered as by the API 1.least.
func (c *call) atLeast(least int) bool { return minor(c.api) >= least }

// listen opens a node's API, unless it is.
func (s *Swarm) listen(n *node) error {
	if n.server != nil {
		return nil
	}
	if n.socket == "" {
		dir, err := os.MkdirTemp("", "swarm")
		if err != nil {
			return fmt.Errorf("directory for a socket: %w", err)
		}
		n.socket = filepath.Join(dir, "api.sock")
	}
	listener, err := net.Listen("unix", n.socket)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if l, unix := listener.(*net.UnixListener); unix {
		l.SetUnlinkOnClose(false) // as after a crash
	}
	// Each request has a connection of its own: on one that was used before,
	// net/http repeats by itself what got no answer.
	n.server = &http.Server{Handler: s.handler(n)}
	n.server.SetKeepAlivesEnabled(false)
	n.stopped = make(chan struct{})
	server, stopped := n.server, n.stopped
	go func() {
		defer close(stopped)
		_ = server.Serve(listener) // always http.ErrServerClosed
	}()
	return nil
}

// close ends all of a Swarm.
func (s *Swarm) close() {
	s.mu.Lock()
	close(s.closing)
	nodes := slices.Clone(s.nodes)
	s.mu.Unlock()
	for _, n := range nodes {
		if n.socket == "" {
			continue
		}
		s.stopNode(n)
		if err := os.RemoveAll(filepath.Dir(n.socket)); err != nil {
			s.tb.Error(err)
		}
	}
}

// stopNode closes a node's API and waits until nobody listens.
func (s *Swarm) stopNode(n *node) {
	s.mu.Lock()
	server, stopped := n.server, n.stopped
	n.server = nil
	s.mu.Unlock()
	if server == nil {
		return
	}
	if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		s.tb.Error(err)
	}
	<-stopped
}

// Stop ends the API of the first manager: connections are cut, new ones are
// refused. The swarm goes on.
func (s *Swarm) Stop() { s.stopNode(s.nodes[0]) }

// Start opens the API that Stop has ended.
func (s *Swarm) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.nodes[0]
	if n.server == nil {
		if err := os.Remove(n.socket); err != nil && !errors.Is(err, os.ErrNotExist) {
			s.tb.Error(err)
		}
	}
	if err := s.listen(n); err != nil {
		s.tb.Error(err)
	}
	s.lead()
}

func (s *Swarm) handler(n *node) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client has left
		}
		c := newCall(n, r.Method, r.URL, body)
		c.contentType = r.Header.Get("Content-Type")
		s.serve(w, r, c)
	})
}

func newCall(n *node, method string, u *url.URL, body []byte) *call {
	c := &call{node: n, method: method, path: u.Path, query: u.Query(), body: body, contentType: jsonType}
	if rest, found := strings.CutPrefix(u.Path, "/v"); found {
		version, path, _ := strings.Cut(rest, "/")
		if major, _, dotted := strings.Cut(version, "."); dotted && major == "1" {
			c.api, c.path = version, "/"+path
		}
	}
	return c
}

const jsonType = "application/json"

// write sends an answer.
func (s *Swarm) write(w http.ResponseWriter, r *http.Request, a answer) {
	h := w.Header()
	h.Set("Api-Version", s.cfg.api)
	h.Set("Ostype", "linux")
	h.Set("Docker-Experimental", "false")
	h.Set("Server", "Docker/"+s.cfg.engine+" (linux)")
	for key, value := range a.header {
		h.Set(key, value)
	}
	switch {
	case a.text != "":
		h.Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(a.status)
		_, _ = io.WriteString(w, a.text)
	case a.stream:
		h.Set("Content-Type", jsonType)
		w.WriteHeader(a.status)
		if f, flushes := w.(http.Flusher); flushes {
			f.Flush()
		}
		s.hold(r)
	case a.body == nil:
		w.WriteHeader(a.status)
	default:
		h.Set("Content-Type", jsonType)
		w.WriteHeader(a.status)
		_ = json.NewEncoder(w).Encode(a.body) // the client may leave
	}
}

// hold keeps a request until the client, or the test, ends it.
func (s *Swarm) hold(r *http.Request) {
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	select {
	case <-r.Context().Done():
	case <-closing:
	}
}

// Do makes a request in the name of somebody else: it takes no step, is not
// logged and does not fail by Fail. The path is without the API's version and
// may have a query. It is for hooks, and for tests to look at the state.
func (s *Swarm) Do(method, path, body string) (status int, answer string) {
	u, err := url.Parse(path)
	if err != nil {
		s.tb.Errorf("path %s: %v", path, err)
		return 0, ""
	}
	s.mu.Lock()
	a := s.respond(newCall(s.nodes[0], method, u, []byte(body)))
	s.mu.Unlock()
	w := httptest.NewRecorder()
	if a.stream {
		s.tb.Errorf("%s %s does not end", method, path)
		return 0, ""
	}
	s.write(w, nil, a)
	return w.Code, w.Body.String()
}
