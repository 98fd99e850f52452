package store

import (
	"encoding/json"
	"fmt"

	"github.com/containerd/errdefs"
	bolt "go.etcd.io/bbolt"

	"weft/engine/fault"
)

// Table is a set of rows of type T, each under a key. Its calls are safe for
// concurrent use; none may be made from within the function given to Update.
type Table[T any] struct {
	s    *Store
	name string
}

// Row is one row of a table.
type Row[T any] struct {
	Key   string
	Value T
}

// Bucket gives the table with the given name. Whoever opens the same name must
// use the same T.
func Bucket[T any](s *Store, name string) *Table[T] {
	return &Table[T]{s: s, name: name}
}

// Put writes a row, whether or not there is one under key. The key must not be
// empty.
func (t *Table[T]) Put(key string, value T) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return t.wrap("put", key, err)
	}
	return t.wrap("put", key, t.s.db.Update(func(tx *bolt.Tx) error {
		b, err := t.create(tx)
		if err != nil {
			return err
		}
		return b.Put([]byte(key), raw)
	}))
}

// Get gives the row under key, or a NotFound error.
func (t *Table[T]) Get(key string) (T, error) {
	var value T
	err := t.s.db.View(func(tx *bolt.Tx) error {
		return t.read(t.bucket(tx), key, &value)
	})
	return value, t.wrap("get", key, err)
}

// Delete removes the row under key; that there is none is no error.
func (t *Table[T]) Delete(key string) error {
	return t.wrap("delete", key, t.s.db.Update(func(tx *bolt.Tx) error {
		if b := t.bucket(tx); b != nil {
			return b.Delete([]byte(key))
		}
		return nil
	}))
}

// List gives all rows in the order of their keys.
func (t *Table[T]) List() ([]Row[T], error) {
	var rows []Row[T]
	err := t.s.db.View(func(tx *bolt.Tx) error {
		b := t.bucket(tx)
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			r := Row[T]{Key: string(k)}
			if err := json.Unmarshal(v, &r.Value); err != nil {
				return t.wrap("read", r.Key, err)
			}
			rows = append(rows, r)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", t.name, err)
	}
	return rows, nil
}

// Update changes the row under key by change, in one step for everybody else,
// and gives the new row; a row that is not there yet starts as the zero T.
// When change returns an error nothing is written.
func (t *Table[T]) Update(key string, change func(*T) error) (T, error) {
	var value T
	err := t.s.db.Update(func(tx *bolt.Tx) error {
		b, err := t.create(tx)
		if err != nil {
			return err
		}
		if err := t.read(b, key, &value); err != nil && !errdefs.IsNotFound(err) {
			return err
		}
		if err := change(&value); err != nil {
			return err
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return err
		}
		return b.Put([]byte(key), raw)
	})
	return value, t.wrap("update", key, err)
}

func (t *Table[T]) read(b *bolt.Bucket, key string, value *T) error {
	var raw []byte
	if b != nil {
		raw = b.Get([]byte(key))
	}
	if raw == nil {
		return fault.NotFound("no such row")
	}
	return json.Unmarshal(raw, value)
}

func (t *Table[T]) bucket(tx *bolt.Tx) *bolt.Bucket {
	return tx.Bucket([]byte(tablesBucket)).Bucket([]byte(t.name))
}

func (t *Table[T]) create(tx *bolt.Tx) (*bolt.Bucket, error) {
	return tx.Bucket([]byte(tablesBucket)).CreateBucketIfNotExists([]byte(t.name))
}

func (t *Table[T]) wrap(verb, key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s %q: %w", verb, t.name, key, err)
}
