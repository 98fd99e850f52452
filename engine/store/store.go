package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"weft/engine/fault"
	"weft/engine/model"
)

// Schema is the version of the file's layout. It grows by one with every
// change that an older engine would misread.
const Schema = 1

// lockTimeout is how long Open waits for the file's lock by default: longer
// than an engine needs to close its store when it is being restarted.
const lockTimeout = 3 * time.Second

// The top-level buckets: rows are in buckets of their own below tables, so no
// table name can clash with ours.
const (
	metaBucket     = "meta"
	tablesBucket   = "tables"
	settingsBucket = "settings"
	schemaKey      = "schema"
)

// Options change how Open goes about it; the zero value is right for an engine.
type Options struct {
	LockTimeout time.Duration // 0: 3 s
}

// Store is the open state of one engine. It is safe for concurrent use.
type Store struct {
	db   *bolt.DB
	path string
}

// Open opens the state in the file at path, and makes it when there is none;
// its directory must exist. It fails with a Conflict when another engine has
// it open, with Unsupported when a newer weft wrote it, and with Internal when
// it is damaged or no weft state; the file is unchanged then.
func Open(path string, opts Options) (*Store, error) {
	if opts.LockTimeout == 0 {
		opts.LockTimeout = lockTimeout
	}
	fresh, err := examine(path, opts.LockTimeout)
	if err != nil {
		return nil, err
	}
	db, err := openFile(path, &bolt.Options{Timeout: opts.LockTimeout})
	if err != nil {
		return nil, err
	}
	s := &Store{db: db, path: path}
	if err := s.stamp(fresh); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

// Close releases the file. No call may follow it.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close state %s: %w", s.path, err)
	}
	return nil
}

// Containers are this node's containers, by ID.
func (s *Store) Containers() *Table[model.Container] {
	return Bucket[model.Container](s, "containers")
}

// Endpoints are the endpoints of this node's sandboxes, by endpoint ID.
func (s *Store) Endpoints() *Table[model.Endpoint] {
	return Bucket[model.Endpoint](s, "endpoints")
}

// Attachments are what the swarm's allocator gave this node's standalone
// containers, by a key the caller chooses.
func (s *Store) Attachments() *Table[model.Attachment] {
	return Bucket[model.Attachment](s, "attachments")
}

// Load gives the setting saved under key, nil when there is none.
func (s *Store) Load(key string) ([]byte, error) {
	var value []byte
	err := s.db.View(func(tx *bolt.Tx) error {
		if v := tx.Bucket([]byte(settingsBucket)).Get([]byte(key)); v != nil {
			value = append([]byte{}, v...)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load setting %s: %w", key, err)
	}
	return value, nil
}

// Save keeps value as the setting key; nil forgets it.
func (s *Store) Save(key string, value []byte) error {
	err := s.db.Update(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte(settingsBucket))
		if value == nil {
			return b.Delete([]byte(key))
		}
		return b.Put([]byte(key), value)
	})
	if err != nil {
		return fmt.Errorf("save setting %s: %w", key, err)
	}
	return nil
}

// stamp makes the buckets of a new file and writes its schema version.
func (s *Store) stamp(fresh bool) error {
	if !fresh {
		return nil
	}
	err := s.db.Update(func(tx *bolt.Tx) error {
		for _, name := range []string{metaBucket, tablesBucket, settingsBucket} {
			if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return tx.Bucket([]byte(metaBucket)).Put([]byte(schemaKey), binary.BigEndian.AppendUint32(nil, Schema))
	})
	if err != nil {
		return fmt.Errorf("initialize state %s: %w", s.path, err)
	}
	return syncDir(filepath.Dir(s.path))
}

// syncDir makes the file's name as durable as its content.
func syncDir(dir string) error {
	d, err := os.Open(dir) //nolint:gosec // the operator's data directory
	if err != nil {
		return fmt.Errorf("open data directory: %w", err)
	}
	defer d.Close() //nolint:errcheck // opened for reading only
	if err := d.Sync(); err != nil {
		return fmt.Errorf("sync data directory %s: %w", dir, err)
	}
	return nil
}

// openFile opens the database. bbolt panics on some kinds of damage, and its
// memory map faults on others; both come back as errors.
func openFile(path string, opts *bolt.Options) (db *bolt.DB, err error) {
	err = guarded(path, func() error {
		var err error
		db, err = bolt.Open(path, 0o600, opts)
		return err
	})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fault.Conflict("another engine uses data directory %s: stop it with `weft engine stop`, or give this one a directory of its own with --data-dir", filepath.Dir(path))
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return nil, damaged(path, err)
	case err != nil:
		return nil, fmt.Errorf("open state %s: %w", path, err)
	}
	return db, nil
}

// damaged is the error for a file that cannot be used as it is.
func damaged(path string, cause error) error {
	return fault.Internal("state file %s is damaged or not weft's: %w; it was left as it is: move it away to start without the state in it", path, cause)
}
