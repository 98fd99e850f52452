package ingress

import "testing"

func TestAmounts(t *testing.T) {
	for n, want := range map[int]string{0: "0 tasks hold", 1: "1 task holds", 2: "2 tasks hold"} {
		if got := amount(n, "task") + " " + does(n, "hold"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
