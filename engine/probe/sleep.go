package probe

import (
	"context"
	"flag"
	"math"
	"strings"
	"time"
)

func sleep(ctx context.Context, _ streams, fs *flag.FlagSet, args []string) error {
	rest, err := parse(fs, args, 1, 1)
	if err != nil {
		return err
	}
	if rest[0] == "infinity" {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	d, ok := sleepTime(rest[0])
	if !ok {
		return usage("a duration is 30, 30s, 5m, 1h or 1d, or infinity, not " + rest[0])
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sleepTime reads seconds, days, or what Go calls a duration, which knows no
// days.
func sleepTime(text string) (d time.Duration, ok bool) {
	unit := time.Duration(1)
	number, days := strings.CutSuffix(text, "d")
	if strings.Trim(number, "0123456789.") == "" {
		text = number + "s"
		if days {
			text, unit = number+"h", 24
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 || d > math.MaxInt64/unit {
		return 0, false
	}
	return d * unit, true
}
