package imageref_test

import (
	"strings"
	"testing"

	"weft/commands/imageref"
)

func TestShort(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for in, want := range map[string]string{
		"busybox:1" + digest:          "busybox:1",
		"docker.io/library/busybox:1": "busybox:1",
		"busybox" + digest:            "busybox" + digest,
		"busybox":                     "busybox",
		"r.example:5000/a:2" + digest: "r.example:5000/a:2",
		"NOT A REFERENCE":             "NOT A REFERENCE",
	} {
		if got := imageref.Short(in); got != want {
			t.Errorf("Short(%s) = %s, want %s", in, got, want)
		}
	}
}
