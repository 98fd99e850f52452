package dockerapi

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"sync"
)

// response knows whether an answer has begun.
type response struct {
	http.ResponseWriter
	started bool
}

func (w *response) WriteHeader(status int) {
	w.started = true
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(p []byte) (int, error) {
	w.started = true
	return w.ResponseWriter.Write(p)
}

// Flush sends what is buffered, the header at least.
func (w *response) Flush() {
	w.started = true
	_ = http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack takes the connection over.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err == nil {
		w.started = true
	}
	return conn, buf, err
}

// Unwrap serves http.ResponseController in handlers of Config.Extra.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// errorBody is the body of every error.
type errorBody struct {
	Message string `json:"message"`
}

// WriteJSON answers with a value.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// stream is a body that is sent as it is written. It is safe for concurrent
// use: the output of a process comes from two pipes.
type stream struct {
	mu sync.Mutex // guards w
	w  *response
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, err := s.w.Write(p)
	if err == nil {
		s.w.Flush()
	}
	return n, err
}

// begin sends the header of a stream.
func begin(w *response, contentType string) *stream {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(http.StatusOK)
	w.Flush()
	return &stream{w: w}
}
