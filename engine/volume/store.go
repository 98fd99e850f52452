package volume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"weft/engine/fault"
	"weft/engine/model"
)

// dataName is the directory of a volume's content, by Docker's name.
const dataName = "_data"

// nameForm is what Docker accepts as a volume's name (daemon/names).
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)

// Table keeps the volumes' records over restarts.
type Table interface {
	Put(name string, v model.Volume) error
	Delete(name string) error
	List() (map[string]model.Volume, error)
}

// Config is what a Store is made of. All fields are required.
type Config struct {
	Dir     string // of the volumes; made if need be
	Table   Table
	Publish func(model.Event)
	Log     *slog.Logger
	Now     func() time.Time
}

// Store is the volumes of one node. It is safe for concurrent use.
type Store struct {
	cfg Config

	mu   sync.Mutex // guards the volumes, and what is mounted on them
	vols map[string]*volume
}

// volume is one record and who uses it.
type volume struct {
	rec     model.Volume
	holders map[string]bool // containers that exist
	users   map[string]bool // those of them that run
}

// Open takes back the volumes of an earlier run. Call Restore before anything
// else.
func Open(cfg Config) (*Store, error) {
	if err := os.MkdirAll(cfg.Dir, 0o701); err != nil { //nolint:gosec // Docker's mode: containers' users pass, nobody lists
		return nil, fmt.Errorf("make the directory of volumes: %w", err)
	}
	recs, err := cfg.Table.List()
	if err != nil {
		return nil, fmt.Errorf("read volumes: %w", err)
	}
	s := &Store{cfg: cfg, vols: map[string]*volume{}}
	for name, rec := range recs {
		rec.Path = s.Path(name)
		if err := makeDirs(rec.Path); err != nil { // a crash came before
			return nil, err
		}
		s.vols[name] = newVolume(rec)
	}
	return s, s.sweep()
}

func newVolume(rec model.Volume) *volume {
	return &volume{rec: rec, holders: map[string]bool{}, users: map[string]bool{}}
}

// sweep removes the directories without a record: those of volumes whose
// removal a crash interrupted, after what is mounted on them.
func (s *Store) sweep() error {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("sweep volumes: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if s.vols[e.Name()] != nil {
			errs = append(errs, os.RemoveAll(s.fillPath(e.Name())))
			continue
		}
		s.cfg.Log.Info("volume without a record removed", "volume", e.Name())
		errs = append(errs, unmountAll(s.Path(e.Name())), os.RemoveAll(filepath.Join(s.cfg.Dir, e.Name())))
	}
	return errors.Join(errs...)
}

// Path gives where the data of a volume is, whether or not there is one.
func (s *Store) Path(name string) string { return filepath.Join(s.cfg.Dir, name, dataName) }

func makeDirs(data string) error {
	if err := os.MkdirAll(filepath.Dir(data), 0o701); err != nil { //nolint:gosec // Docker's mode
		return fmt.Errorf("make volume: %w", err)
	}
	if err := os.MkdirAll(data, 0o755); err != nil { //nolint:gosec // containers' users must reach it
		return fmt.Errorf("make volume: %w", err)
	}
	return nil
}

// CheckName refuses what can't be a volume's name.
func CheckName(name string) error {
	switch {
	case len(name) == 1:
		return fault.Invalid("create %s: volume name is too short, names should be at least two alphanumeric characters", name)
	case !nameForm.MatchString(name):
		return fault.Invalid("create %s: %q includes invalid characters for a local volume name, only %q are allowed. "+
			"If you intended to pass a host directory, use absolute path", name, name, "[a-zA-Z0-9][a-zA-Z0-9_.-]")
	case len(name) > nameMax:
		return fault.Invalid("create %s: volume name is too long, names may have %d characters", name, nameMax)
	}
	return nil
}

// nameMax is how long a file's name may be (NAME_MAX of <linux/limits.h>).
const nameMax = 255

// Create makes a volume. One of that name is given as it is, whatever its
// labels and options are, as with Docker.
func (s *Store) Create(_ context.Context, req model.VolumeRequest) (model.Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.createLocked(req)
	if err != nil {
		return model.Volume{}, err
	}
	return clone(v.rec), nil
}

func (s *Store) createLocked(req model.VolumeRequest) (*volume, error) {
	labels := maps.Clone(req.Labels)
	if req.Name == "" {
		req.Name = model.NewID()
		if labels == nil {
			labels = map[string]string{}
		}
		labels[model.AnonymousVolume] = ""
	}
	if d := req.Driver; d != "" && d != model.VolumeDriver {
		return nil, fault.NotFound("create %s: error looking up volume plugin %s: plugin %q not found", req.Name, d, d)
	}
	if err := CheckName(req.Name); err != nil {
		return nil, err
	}
	if err := checkOptions(req.Options); err != nil {
		return nil, fmt.Errorf("create %s: %w", req.Name, err)
	}
	if v := s.vols[req.Name]; v != nil {
		return v, nil
	}
	v := newVolume(model.Volume{
		Name: req.Name, Labels: labels, Options: maps.Clone(req.Options), Created: s.cfg.Now(), Path: s.Path(req.Name),
	})
	if err := s.cfg.Table.Put(req.Name, v.rec); err != nil {
		return nil, err
	}
	if err := makeDirs(v.rec.Path); err != nil {
		return nil, errors.Join(err, s.cfg.Table.Delete(req.Name))
	}
	s.vols[req.Name] = v
	s.publish(req.Name, "create", map[string]string{"driver": model.VolumeDriver})
	return v, nil
}

func clone(v model.Volume) model.Volume {
	v.Labels, v.Options = maps.Clone(v.Labels), maps.Clone(v.Options)
	return v
}

// Volume gives the volume of a name.
func (s *Store) Volume(_ context.Context, name string) (model.Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.vols[name]; v != nil {
		return clone(v.rec), nil
	}
	return model.Volume{}, notFound(name)
}

func notFound(name string) error { return fault.NotFound("get %s: no such volume", name) }

// Volumes gives all volumes in the order of their names.
func (s *Store) Volumes(context.Context) ([]model.Volume, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]model.Volume, 0, len(s.vols))
	for _, name := range slices.Sorted(maps.Keys(s.vols)) {
		out = append(out, clone(s.vols[name].rec))
	}
	return out, nil
}

// Used tells which volumes a container has, running or not.
func (s *Store) Used(context.Context) (map[string]bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := map[string]bool{}
	for name, v := range s.vols {
		if len(v.holders) > 0 {
			used[name] = true
		}
	}
	return used, nil
}

// Remove deletes a volume and its data. One that a container has is a Conflict.
// force makes nothing of a volume that is not there.
func (s *Store) Remove(_ context.Context, name string, force bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vols[name]
	switch {
	case v == nil && force:
		return nil
	case v == nil:
		return notFound(name)
	}
	return s.removeLocked(v)
}

func (s *Store) removeLocked(v *volume) error {
	name := v.rec.Name
	if len(v.holders) > 0 {
		return fault.Conflict("remove %s: volume is in use - [%s]", name, strings.Join(slices.Sorted(maps.Keys(v.holders)), ", "))
	}
	// Whatever is mounted there belongs to somebody else.
	if err := unmountAll(v.rec.Path); err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(s.cfg.Dir, name)); err != nil {
		return fmt.Errorf("remove %s: %w", name, err)
	}
	if err := s.cfg.Table.Delete(name); err != nil {
		return err
	}
	delete(s.vols, name)
	s.publish(name, "destroy", map[string]string{"driver": model.VolumeDriver})
	return nil
}

func (s *Store) publish(name, action string, attrs map[string]string) {
	s.cfg.Publish(model.Event{Type: "volume", Action: action, ActorID: name, Attributes: attrs, Scope: model.ScopeLocal})
}
