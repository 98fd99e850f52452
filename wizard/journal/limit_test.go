package journal_test

import (
	"os/signal"
	"syscall"
	"testing"
)

// limit lets no file of this process grow beyond size bytes, until the test
// ends. It needs no file system of its own, and no privileges.
func limit(tb testing.TB, size int64) {
	tb.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		tb.Fatal(err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(size), Max: old.Max}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
			tb.Error(err)
		}
		signal.Reset(syscall.SIGXFSZ)
	})
}
