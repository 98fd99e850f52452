package store

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"

	"weft/engine/fault"
)

var (
	errCutShort = errors.New("it ends before its data does")
	errForeign  = errors.New("it has no weft schema version")
	errRow      = errors.New("row is not JSON")
)

// examine reads a whole state file without writing to it and reports whether
// it still has to be initialized: because it is absent, empty, or of an engine
// that died before its first write.
func examine(path string, timeout time.Duration) (fresh bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || (err == nil && info.Mode().IsRegular() && info.Size() == 0) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open state: %w", err)
	}
	if !info.Mode().IsRegular() {
		return false, fault.Invalid("state %s is not a regular file: give another data directory with --data-dir", path)
	}
	db, err := openFile(path, &bolt.Options{Timeout: timeout, ReadOnly: true})
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	err = guarded(path, func() error {
		return db.View(func(tx *bolt.Tx) error {
			fresh, err = check(tx, path)
			return err
		})
	})
	return fresh, err
}

func check(tx *bolt.Tx, path string) (fresh bool, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return false, fmt.Errorf("open state: %w", err)
	}
	// Reading a mapped page behind the end of the file is a fault.
	if info.Size() < tx.Size() {
		return false, damaged(path, errCutShort)
	}
	if first, _ := tx.Cursor().First(); first == nil {
		return true, nil
	}
	if err := checkSchema(tx, path); err != nil {
		return false, err
	}
	for _, name := range []string{tablesBucket, settingsBucket} {
		if tx.Bucket([]byte(name)) == nil {
			return false, damaged(path, fmt.Errorf("%w, bucket %s is missing", errForeign, name))
		}
	}
	if err := checkRows(tx.Bucket([]byte(tablesBucket))); err != nil {
		return false, damaged(path, err)
	}
	return false, nil
}

func checkSchema(tx *bolt.Tx, path string) error {
	var mark []byte
	if b := tx.Bucket([]byte(metaBucket)); b != nil {
		mark = b.Get([]byte(schemaKey))
	}
	if len(mark) != 4 {
		return damaged(path, errForeign)
	}
	switch v := binary.BigEndian.Uint32(mark); {
	case v > Schema:
		return fault.Unsupported("state file %s was written by a newer weft (schema %d, this one knows %d): run that version again, or give another data directory with --data-dir", path, v, Schema)
	case v < 1:
		return damaged(path, errForeign)
	}
	return nil
}

// checkRows reads every row of every table below b.
func checkRows(tables *bolt.Bucket) error {
	return tables.ForEachBucket(func(name []byte) error {
		return tables.Bucket(name).ForEach(func(k, v []byte) error {
			if !json.Valid(v) {
				return fmt.Errorf("%w: table %q, key %q", errRow, name, k)
			}
			return nil
		})
	})
}

// guarded runs fn and turns a panic or a fault on a mapped page into an error.
// It only sees what happens on its own goroutine; bbolt starts none here.
func guarded(path string, fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = damaged(path, fmt.Errorf("%v", r)) //nolint:err113 // bbolt panics with text
		}
	}()
	return fn()
}
