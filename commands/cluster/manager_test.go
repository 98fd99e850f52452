package cluster

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLost finds what a round trip through other types has lost.
func TestLost(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     []string
	}{
		{`{"A":1,"B":["x"]}`, `{"B":["x"],"A":1}`, nil},
		{`{"A":{"B":1,"New":"x"}}`, `{"A":{"B":1}}`, []string{"A.New"}},
		{`{"A":[{"B":1},{"New":true}]}`, `{"A":[{"B":1},{}]}`, []string{"A[1].New"}},
		{`{"A":[1,2]}`, `{"A":[1]}`, []string{"A[1]"}},
		{`{"A":"1s"}`, `{"A":1000}`, []string{"A"}},
		{`{"A":null,"B":"","C":false,"D":0,"E":{},"F":[]}`, `{}`, nil},
		{`{"A":1}`, `{"A":1,"Added":2}`, nil},
		{`[`, `{}`, []string{"all of it"}},
	} {
		if diff := cmp.Diff(c.want, lost(json.RawMessage(c.from), json.RawMessage(c.to))); diff != "" {
			t.Errorf("%s to %s: %s", c.from, c.to, diff)
		}
	}
}
