package dockerapi

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/distribution/reference"
	"github.com/docker/docker/api/types/registry"

	"weft/engine/fault"
	"weft/engine/model"
)

// messages is a stream of Docker's progress messages (pkg/jsonmessage).
type messages struct {
	w   *response
	enc *json.Encoder
}

type message struct {
	Stream   string        `json:"stream,omitempty"`
	Status   string        `json:"status,omitempty"`
	Progress *progress     `json:"progressDetail,omitempty"`
	ID       string        `json:"id,omitempty"`
	Error    *messageError `json:"errorDetail,omitempty"`
	ErrorOld string        `json:"error,omitempty"`
}

type progress struct {
	Current int64 `json:"current,omitempty"`
	Total   int64 `json:"total,omitempty"`
}

type messageError struct {
	Message string `json:"message,omitempty"`
}

func newMessages(w *response) *messages { return &messages{w: w} }

// send begins the stream with the first message.
func (m *messages) send(msg message) {
	if m.enc == nil {
		m.enc = json.NewEncoder(begin(m.w, "application/json"))
	}
	_ = m.enc.Encode(msg) // a client that has gone is told nothing
	m.w.Flush()
}

// end reports err as the answer, or as the last message when one was sent.
func (m *messages) end(err error) error {
	if err != nil && m.enc != nil {
		m.send(message{Error: &messageError{err.Error()}, ErrorOld: err.Error()})
		return nil
	}
	return err
}

func (s *Server) imageLoad(w *response, r *request) error {
	loaded, err := s.cfg.Images.LoadImages(r.Context(), r.Body)
	if err != nil {
		return err
	}
	m := newMessages(w)
	for _, img := range loaded {
		if img.Name == "" {
			m.send(message{Stream: "Loaded image ID: " + img.ID + "\n"})
		} else {
			m.send(message{Stream: "Loaded image: " + img.Name + "\n"})
		}
	}
	return nil
}

func (s *Server) imageSave(w *response, r *request) error {
	names := r.query["names"]
	if name := r.vars["name"]; name != "" {
		names = []string{name}
	}
	if len(names) == 0 {
		return fault.Invalid("no images given to save")
	}
	for _, name := range names { // before the answer begins, which can't be an error then
		if _, err := s.cfg.Images.Image(r.Context(), name); err != nil {
			return err
		}
	}
	err := s.cfg.Images.SaveImages(r.Context(), &lateBody{w: w, mediaType: "application/x-tar"}, names)
	if err != nil && w.started {
		panic(http.ErrAbortHandler) // so that half an archive is not taken for all
	}
	return err
}

// lateBody begins an answer with its first byte.
type lateBody struct {
	w         *response
	mediaType string
}

func (b *lateBody) Write(p []byte) (int, error) {
	if !b.w.started {
		b.w.Header().Set("Content-Type", b.mediaType)
	}
	return b.w.Write(p)
}

// imageCreate is a pull, or an import.
func (s *Server) imageCreate(w *response, r *request) error {
	if r.query.Get("fromImage") == "" {
		return s.imageImport(w, r)
	}
	from := strings.TrimSuffix(r.query.Get("fromImage"), ":")
	named, err := reference.ParseNormalizedNamed(from)
	if err != nil {
		return fault.Invalid("%w", err)
	}
	if tag := r.query.Get("tag"); strings.Contains(tag, ":") {
		from = named.Name() + "@" + tag
	} else if tag != "" {
		from = named.Name() + ":" + tag
	}
	m := newMessages(w)
	return m.end(s.cfg.Images.PullImage(r.Context(), from, model.PullOptions{
		Credentials: credentials(r), Platform: r.query.Get("platform"),
		Report: func(p model.Progress) {
			msg := message{ID: p.ID, Status: p.Status}
			if p.ID != "" {
				msg.Progress = &progress{p.Current, p.Total}
			}
			m.send(msg)
		},
	}))
}

// credentials reads who asks a registry: nobody, if that can't be read. As with
// dockerd the registry may let anybody in.
func credentials(r *request) model.Credentials {
	auth, err := registry.DecodeAuthConfig(r.Header.Get(registry.AuthHeader))
	if err != nil {
		return model.Credentials{}
	}
	return model.Credentials{Username: auth.Username, Password: auth.Password, IdentityToken: auth.IdentityToken}
}

func (s *Server) imageImport(w *response, r *request) error {
	if src := r.query.Get("fromSrc"); src != "-" {
		return fault.Unsupported("this engine does not fetch %q: send the archive itself", src)
	}
	name, err := repositoryTag(r)
	if err != nil {
		return err
	}
	id, err := s.cfg.Images.ImportImage(r.Context(), r.Body, model.ImportOptions{
		Name: name, Message: r.query.Get("message"), Changes: r.query["changes"], Platform: r.query.Get("platform"), Created: s.cfg.Now(),
	})
	if err != nil {
		return err
	}
	newMessages(w).send(message{Status: id})
	return nil
}

// distribution answers what a client asks to pin a service's image to its
// digest. The built-in image has none, and the client then keeps its name.
func (s *Server) distribution(w *response, r *request) error {
	d, err := s.cfg.Images.AskRegistry(r.Context(), r.vars["name"], credentials(r))
	if err != nil {
		return err
	}
	return WriteJSON(w, http.StatusOK, struct {
		Descriptor any
		Platforms  any
	}{d, []any{}})
}
