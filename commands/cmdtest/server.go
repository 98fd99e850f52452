// Package cmdtest lets tests run commands against a Docker API that answers
// what it is told to and writes down what it was asked.
//
// The API listens on a unix socket of its own, one per test, and knows nothing
// of Docker but `/_ping`: every other answer is canned. It shows which requests
// a command makes; how an engine behaves is for tests against an engine.
package cmdtest

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// APIVersion is what the server says it speaks.
const APIVersion = "1.51"

// Answer is a canned response.
type Answer struct {
	Status int
	Header map[string]string
	Body   string
}

// Server is the canned API. It is safe for concurrent use.
type Server struct {
	Socket string // path of the unix socket

	http *http.Server
	done chan struct{}

	mu       sync.Mutex // guards what follows
	answers  map[string][]Answer
	requests []string
	header   map[string]string
}

// New starts a server that ends with the test.
func New(tb testing.TB) *Server {
	tb.Helper()
	dir, err := os.MkdirTemp("", "weft-api") // t.TempDir is too long a path for a socket
	if err != nil {
		tb.Fatal(err)
	}
	s, err := Start(filepath.Join(dir, "api.sock"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// Start starts a server on a socket. The caller closes it.
func Start(socket string) (*Server, error) {
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	s := &Server{Socket: socket, answers: map[string][]Answer{}, header: map[string]string{}, done: make(chan struct{})}
	s.http = &http.Server{Handler: s}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(listener) // always http.ErrServerClosed
	}()
	return s, nil
}

// Close stops the server and removes its socket.
func (s *Server) Close() error {
	err := s.http.Close()
	<-s.done
	if err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// Host gives the server's address for --host.
func (s *Server) Host() string { return "unix://" + s.Socket }

// PingHeader adds a header to the answer to `/_ping`.
func (s *Server) PingHeader(name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.header[name] = value
}

// Answer says how a request is answered, as "GET /networks/n1" without the
// API's version. Given again it is the answer to the next such request; the
// last one answers all that follow. A body that is not a string is written as
// JSON.
func (s *Server) Answer(request string, status int, body any) {
	text, ok := body.(string)
	if !ok {
		data, err := json.Marshal(body)
		if err != nil {
			panic(err) // a test's own value
		}
		text = string(data)
	}
	s.AnswerWith(request, Answer{Status: status, Body: text})
}

// AnswerWith is Answer with headers.
func (s *Server) AnswerWith(request string, answer Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[request] = append(s.answers[request], answer)
}

// Requests gives what was asked since the last call, except for `/_ping`: a
// line with method, path and query in order, and one with the body, if any,
// as JSON without what is empty, or the entries of an archive.
func (s *Server) Requests() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := s.requests
	s.requests = nil
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// ServeHTTP answers a request from the canned answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := unversioned(r.URL.Path)
	w.Header().Set("Api-Version", APIVersion)
	w.Header().Set("Ostype", "linux")
	if path == "/_ping" {
		s.mu.Lock()
		for name, value := range s.header {
			w.Header().Set(name, value)
		}
		s.mu.Unlock()
		_, _ = io.WriteString(w, "OK")
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer := s.take(r.Method, path, describe(r.Method, path, r.URL.Query(), body))
	w.Header().Set("Content-Type", "application/json")
	for name, value := range answer.Header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(answer.Status)
	_, _ = io.WriteString(w, answer.Body)
}

// take writes a request down and gives its answer.
func (s *Server) take(method, path, text string) Answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, text)
	key := method + " " + path
	queue := s.answers[key]
	if len(queue) == 0 {
		return Answer{Status: http.StatusNotFound, Body: `{"message":"page not found"}`}
	}
	if len(queue) > 1 {
		s.answers[key] = queue[1:]
	}
	return queue[0]
}

// unversioned gives an API path without the version it begins with.
func unversioned(path string) string {
	rest, found := strings.CutPrefix(path, "/v")
	if !found || rest == "" || rest[0] < '0' || rest[0] > '9' {
		return path
	}
	if _, rest, found = strings.Cut(rest, "/"); found {
		return "/" + rest
	}
	return path
}

func describe(method, path string, query url.Values, body []byte) string {
	text := method + " " + path
	if len(query) > 0 {
		var pairs []string
		for _, key := range slices.Sorted(maps.Keys(query)) {
			for _, value := range query[key] {
				pairs = append(pairs, key+"="+value)
			}
		}
		text += "?" + strings.Join(pairs, "&")
	}
	var value any
	if len(body) == 0 || json.Unmarshal(body, &value) != nil {
		return text + entries(body)
	}
	data, err := json.Marshal(compact(value))
	if err != nil {
		return text
	}
	return text + "\n  " + string(data)
}

// entries lists a tar archive; other bodies have none.
func entries(body []byte) string {
	var b strings.Builder
	for archive := tar.NewReader(bytes.NewReader(body)); ; {
		head, err := archive.Next()
		if err != nil {
			return b.String()
		}
		fmt.Fprintf(&b, "\n  %s %s", head.FileInfo().Mode(), head.Name)
		if head.Linkname != "" {
			b.WriteString(" -> " + head.Linkname)
		}
		if head.Size > 0 {
			fmt.Fprintf(&b, " %d bytes", head.Size)
		}
	}
}

// compact leaves out of objects what is null or empty. false and 0 stay.
func compact(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, field := range v {
			field = compact(field)
			v[key] = field
			if empty(field) {
				delete(v, key)
			}
		}
	case []any:
		for i := range v {
			v[i] = compact(v[i])
		}
	}
	return value
}

func empty(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	default:
		return false
	}
}
