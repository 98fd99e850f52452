package probe

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleep(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "30": 30 * time.Second, "0.25": 250 * time.Millisecond, ".5": 500 * time.Millisecond,
		"30s": 30 * time.Second, "5m": 5 * time.Minute, "1h": time.Hour, "1h30m": 90 * time.Minute, "10ms": 10 * time.Millisecond,
		"1d": day, "0.5d": 12 * time.Hour, "9999d": 9999 * day,
	} {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begin := time.Now()
				call(t.Context(), "sleep", text).says(t, 0, "", "")
				if took := time.Since(begin); took != want {
					t.Errorf("slept %v, want %v", took, want)
				}
			})
		})
	}
}

func TestSleepRefuses(t *testing.T) {
	for _, text := range []string{
		"", "x", ".", "1..2", "1x", "s", "d", "1dd", "hd", "1hd", "1d12h", "12h1d", "1 d", "--", "Inf", "NaN",
		"9999999999999", "200000d", "1e9d", "99999999999999999999d",
	} {
		t.Run(text, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				call(t.Context(), "sleep", "--", text).says(t, codeUsage, "", "a duration is 30, 30s, 5m, 1h or 1d, or infinity, not "+text+"\n")
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		call(t.Context(), "sleep", "--", "-1s").says(t, codeUsage, "", "not -1s\n")
	})
}

func TestSleepIsInterrupted(t *testing.T) {
	for _, text := range []string{"infinity", "1h"} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			begin := time.Now()
			time.AfterFunc(time.Minute, func() { cancel(caught{syscall.SIGTERM}) })
			call(ctx, "sleep", text).says(t, 143, "", "")
			if took := time.Since(begin); took != time.Minute {
				t.Errorf("slept %v", took)
			}
		})
	}
}
