// Package store keeps the local state of one engine in one file: what must
// survive a restart or a crash and is nobody else's to remember.
//
// It owns the file, its lock and its schema version; what the rows mean is
// decided by whoever keeps them. Rows are JSON under a string key, in tables
// that come into being with their first row. A write is on the disk when the
// call returns and is seen whole or not at all after a crash: the file is a
// bbolt database, which is locked while open, so a second engine on the same
// data directory is refused.
//
// Open examines a file before it writes to it: one that is cut short, damaged,
// foreign or written by a newer weft is refused and left as it is. The state
// is small (a few kilobytes per container), so all of it is read then.
//
// It is no cache and no history, and it does not repair: what was lost has to
// be found again in the kernel and in the swarm.
package store
