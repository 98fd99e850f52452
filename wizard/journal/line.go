package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// sumKey stands before the checksum, which is the last member of a line: the
// first sumBytes of the SHA-256 of all that stands before sumKey, in
// hexadecimal.
const (
	sumKey   = `,"sum":"`
	sumBytes = 8
)

// encode gives a record's line.
func encode(r Record) ([]byte, error) {
	text, err := json.Marshal(r) //nolint:gosec // the secrets are what the file is for
	if err != nil {
		return nil, err
	}
	text = text[:len(text)-1] // all but the brace
	return append(text, sumKey+sum(text)+"\"}\n"...), nil
}

func sum(text []byte) string {
	digest := sha256.Sum256(text)
	return hex.EncodeToString(digest[:sumBytes])
}

// decode gives the record of the line of a number, without its end, or the
// reason why it can't be believed.
func decode(text []byte, line int) (r Record, reason string) {
	if err := json.Unmarshal(text, &r); err != nil {
		return r, err.Error()
	}
	if r.Format > Format {
		return r, fmt.Sprintf("format %d is of a newer weft; this one knows up to %d", r.Format, Format)
	}
	tail := len(sumKey) + 2*sumBytes + len(`"}`)
	if len(text) < tail || !bytes.HasPrefix(text[len(text)-tail:], []byte(sumKey)) {
		return r, "it has no checksum"
	}
	body := text[:len(text)-tail]
	if want := sum(body); string(text[len(body):]) != sumKey+want+`"}` {
		return r, "it is not what was written: the checksum differs"
	}
	return r, r.wrong(line)
}

func (r *Record) wrong(line int) string {
	switch {
	case r.Format < 1:
		return "no format"
	case r.Seq != line:
		return fmt.Sprintf("record %d where %d is expected", r.Seq, line)
	case (line == 1) != (r.Kind == Start):
		return fmt.Sprintf("%q as record %d", r.Kind, line)
	}
	return ""
}
