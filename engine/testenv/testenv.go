// Package testenv says what tests need of the machine they run on.
package testenv

import (
	"os"
	"testing"
)

// Lacks ends a test that this machine can't run. It is skipped, but fails with
// CI=true in the environment: what is skipped there nobody would notice.
func Lacks(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if os.Getenv("CI") == "true" {
		tb.Fatalf("not skipped, as CI=true: "+format, args...)
	}
	tb.Skipf("skipped: "+format, args...)
}
