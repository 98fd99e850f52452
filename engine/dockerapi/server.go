package dockerapi

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/docker/docker/api/types/versions"

	"weft/engine/fault"
)

// The versions of the Docker Engine API that are served.
const (
	MinVersion = "1.24"
	MaxVersion = "1.51"
)

// ExtraPrefix is where the API begins that Docker does not have.
const ExtraPrefix = "/weft/v1/"

// weftVersion is the version of that API, which a header of every answer
// tells: it sets this engine apart from dockerd.
const weftVersion = "1"

// maxBody bounds a request's body, in bytes. The largest that makes sense is a
// service with some thousand environment variables.
const maxBody = 4 << 20

// maxDrain is how much of a body that is too large is still read: a client
// that can't send all of it does not read the answer either.
const maxDrain = 16 * maxBody

// Config is what New needs.
type Config struct {
	Backends
	Version string           // of the engine
	Log     *slog.Logger     // required
	Now     func() time.Time // required
	Extra   http.Handler     // serves /weft/v1/; nil: nothing does
}

// Server serves the API. It is safe for concurrent use.
type Server struct {
	cfg    Config
	routes router
}

// New makes a server. It starts nothing.
func New(cfg Config) *Server {
	return &Server{cfg: cfg, routes: newRouter(routes())}
}

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rw := &response{ResponseWriter: w}
	defer s.recoverPanic(rw, r)
	s.setHeaders(rw)
	if strings.HasPrefix(r.URL.Path, ExtraPrefix) && s.cfg.Extra != nil {
		s.cfg.Extra.ServeHTTP(rw, r)
		return
	}
	rt, req := s.routes.find(r)
	if rt == nil {
		if r.Method == http.MethodOptions { // dockerd answers it on every path
			rw.WriteHeader(http.StatusOK)
			return
		}
		_ = WriteJSON(rw, http.StatusNotFound, errorBody{"page not found"})
		return
	}
	if err := s.serve(rt, rw, req); err != nil {
		s.fail(rw, req, err)
	}
}

func (s *Server) serve(rt *route, w *response, r *request) error {
	if err := r.checkVersion(); err != nil {
		return err
	}
	if err := r.parseQuery(); err != nil {
		return err
	}
	if rt.handle == nil {
		return fault.Unsupported("%s", rt.note)
	}
	return rt.handle(s, w, r)
}

// setHeaders writes what dockerd writes with every answer
// (api/server/middleware/version.go), and what tells weft's clients that the
// API under /weft/v1/ is there.
func (s *Server) setHeaders(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Server", fmt.Sprintf("Docker/%s (linux)", s.cfg.Version))
	h.Set("Api-Version", MaxVersion)
	h.Set("Ostype", "linux")
	h.Set("Docker-Experimental", "false")
	h.Set("Weft-Api-Version", weftVersion)
}

// fail answers with err, unless an answer has begun.
func (s *Server) fail(w *response, r *request, err error) {
	status := statusOf(err)
	logFailure(r.Request, s.cfg.Log, status, err)
	switch {
	case w.started:
	case status == http.StatusNotModified:
		w.WriteHeader(status)
	case versions.LessThan(r.version, MinVersion):
		// A client this old prints the body as it is.
		http.Error(w, err.Error(), status)
	default:
		_ = WriteJSON(w, status, errorBody{err.Error()})
	}
}

// recoverPanic turns a panic into a 500, or cuts the connection when the
// answer has begun, so that the client does not take half of it for all.
func (s *Server) recoverPanic(w *response, r *http.Request) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(p)
	}
	s.cfg.Log.ErrorContext(r.Context(), "request panicked", "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
	if w.started {
		panic(http.ErrAbortHandler)
	}
	_ = WriteJSON(w, http.StatusInternalServerError, errorBody{"internal error: the engine's log has the details"})
}
