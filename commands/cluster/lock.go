package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/swarm"

	"weft/wizard"
)

// lockName is the swarm config object that is the lock: a swarm has one object
// of a name, and makes it for one of those who ask.
const lockName = "weft-workflow-lock"

// Lock is the lock of a swarm. It is a wizard.Lock.
type Lock struct {
	Manager *Manager
	// TakeOver is the run whose lock may be taken away, empty for none.
	TakeOver string
}

// Acquire is part of wizard.Lock.
func (l *Lock) Acquire(ctx context.Context, h wizard.Holder) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	spec := swarm.ConfigSpec{Annotations: swarm.Annotations{Name: lockName}, Data: text}
	for {
		_, err = l.Manager.do(ctx, http.MethodPost, "configs/create", nil, spec)
		if !errdefs.IsConflict(err) && !errdefs.IsAlreadyExists(err) {
			return err
		}
		id, by, err := l.find(ctx)
		switch {
		case err != nil:
			return err
		case id == "": // released this moment
		case by.Run == h.Run:
			return nil
		case by.Run != l.TakeOver || l.TakeOver == "":
			return &wizard.HeldError{By: by}
		default:
			if err := l.remove(ctx, id); err != nil {
				return err
			}
		}
	}
}

// Release is part of wizard.Lock.
func (l *Lock) Release(ctx context.Context, run string) error {
	id, by, err := l.find(ctx)
	if err != nil || id == "" || by.Run != run {
		return err
	}
	return l.remove(ctx, id)
}

// Holder gives who has the lock, or nil.
func (l *Lock) Holder(ctx context.Context) (*wizard.Holder, error) {
	id, by, err := l.find(ctx)
	if err != nil || id == "" {
		return nil, err
	}
	return &by, nil
}

func (l *Lock) find(ctx context.Context) (id string, by wizard.Holder, err error) {
	var all []swarm.Config
	if err := l.Manager.get(ctx, "configs", url.Values{"filters": {`{"name":{"` + lockName + `":true}}`}}, &all); err != nil {
		return "", by, err
	}
	i := slices.IndexFunc(all, func(c swarm.Config) bool { return c.Spec.Name == lockName }) // the filter takes beginnings too
	if i < 0 {
		return "", by, nil
	}
	if err := json.Unmarshal(all[i].Spec.Data, &by); err != nil {
		return "", by, fmt.Errorf("config %s is not a lock of weft's: %w", lockName, err)
	}
	return all[i].ID, by, nil
}

// remove takes one object away, which may be gone by now. Another one of the
// same name has another ID.
func (l *Lock) remove(ctx context.Context, id string) error {
	_, err := l.Manager.do(ctx, http.MethodDelete, "configs/"+url.PathEscape(id), nil, nil)
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
