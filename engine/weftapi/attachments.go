package weftapi

import (
	"context"
	"net/http"

	"weft/engine/dockerapi"
	"weft/engine/model"
)

// Attachments gives legs on networks to what is not a container.
type Attachments interface {
	Attach(ctx context.Context, req model.AttachRequest) (model.NetworkAttachment, error)
	// Attachments lists those of this node, the oldest first.
	Attachments(ctx context.Context) []model.NetworkAttachment
	// Detach takes an ID or the beginning of one.
	Detach(ctx context.Context, id string) error
}

func (s *server) listAttachments(w http.ResponseWriter, r *http.Request) error {
	list := s.cfg.Attachments.Attachments(r.Context())
	if list == nil {
		list = []model.NetworkAttachment{}
	}
	return dockerapi.WriteJSON(w, http.StatusOK, list)
}

func (s *server) attach(w http.ResponseWriter, r *http.Request) error {
	var req model.AttachRequest
	if err := dockerapi.DecodeJSON(r, &req); err != nil {
		return err
	}
	made, err := s.cfg.Attachments.Attach(r.Context(), req)
	if err != nil {
		return err
	}
	return dockerapi.WriteJSON(w, http.StatusCreated, made)
}

func (s *server) detach(w http.ResponseWriter, r *http.Request) error {
	if err := s.cfg.Attachments.Detach(r.Context(), r.PathValue("id")); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
