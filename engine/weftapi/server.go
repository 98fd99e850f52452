package weftapi

import (
	"log/slog"
	"net/http"

	"weft/engine/dockerapi"
	"weft/engine/fault"
)

// Config is what New needs. All fields are required.
type Config struct {
	Attachments Attachments
	Mesh        Mesh
	Log         *slog.Logger
}

// handler answers one request, or gives the error to answer with.
type handler func(http.ResponseWriter, *http.Request) error

// endpoint is one path and method, as http.ServeMux has them.
type endpoint struct {
	pattern string
	handle  handler
}

// New makes the handler of everything below dockerapi.ExtraPrefix.
func New(cfg Config) http.Handler {
	s := &server{cfg: cfg}
	mux := http.NewServeMux()
	for _, e := range s.endpoints() {
		mux.Handle(e.pattern, s.answer(e.handle))
	}
	return mux
}

type server struct{ cfg Config }

func (s *server) endpoints() []endpoint {
	return []endpoint{
		{"GET " + dockerapi.ExtraPrefix + "attachments", s.listAttachments},
		{"POST " + dockerapi.ExtraPrefix + "attachments", s.attach},
		{"DELETE " + dockerapi.ExtraPrefix + "attachments/{id}", s.detach},
		{"GET " + dockerapi.ExtraPrefix + "mesh", s.mesh},
		{"GET " + dockerapi.ExtraPrefix + "mesh/{proto}/{port}/trace", s.meshTrace},
		{dockerapi.ExtraPrefix, unknown},
	}
}

// unknown answers what no other endpoint does.
func unknown(http.ResponseWriter, *http.Request) error { return fault.NotFound("page not found") }

func (s *server) answer(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			dockerapi.WriteError(w, r, s.cfg.Log, err)
		}
	})
}
