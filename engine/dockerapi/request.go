package dockerapi

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/versions"

	"weft/engine/fault"
)

// request is a request in the terms of Docker's API.
type request struct {
	*http.Request
	version string            // asked for, or the newest
	vars    map[string]string // of the route's pattern
	query   url.Values
}

// before reports whether the client speaks an API older than v.
func (r *request) before(v string) bool { return versions.LessThan(r.version, v) }

func (r *request) checkVersion() error {
	if r.before(MinVersion) {
		return fault.Invalid("client version %s is too old. Minimum supported API version is %s, please upgrade your client to a newer version", r.version, MinVersion)
	}
	if versions.GreaterThan(r.version, MaxVersion) {
		return fault.Invalid("client version %s is too new. Maximum supported API version is %s", r.version, MaxVersion)
	}
	return nil
}

func (r *request) parseQuery() error {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return fault.Invalid("%w", err)
	}
	r.query = q
	return nil
}

// flag reads a boolean the lenient way most of Docker's parameters are read:
// whatever is not a no is a yes.
func (r *request) flag(key string) bool {
	switch strings.ToLower(strings.TrimSpace(r.query.Get(key))) {
	case "", "0", "no", "false", "none":
		return false
	}
	return true
}

// strictFlag reads a boolean the strict way the swarm's parameters are read.
func (r *request) strictFlag(key string) (bool, error) {
	v := r.query.Get(key)
	if v == "" {
		return false, nil
	}
	b, err := strconv.ParseBool(v)
	if err != nil {
		return false, fault.Invalid("invalid value for %s: %s", key, v)
	}
	return b, nil
}

// objectVersion reads the version an update applies to.
func (r *request) objectVersion(object string) (uint64, error) {
	raw := r.query.Get("version")
	v, err := strconv.ParseUint(raw, 10, 64)
	if err != nil {
		return 0, fault.Invalid("invalid %s version '%s': %w", object, raw, err)
	}
	return v, nil
}

func (r *request) filters() (filters.Args, error) {
	args, err := filters.FromJSON(r.query.Get("filters"))
	if err != nil {
		return args, fault.Invalid("%w", err)
	}
	return args, nil
}

// checkJSON refuses a body that does not say it is JSON.
func checkJSON(r *http.Request) error {
	ct := r.Header.Get("Content-Type")
	if ct == "" && r.ContentLength == 0 {
		return nil
	}
	media, _, err := mime.ParseMediaType(ct)
	if err != nil {
		return fault.Invalid("malformed Content-Type header (%s): %w", ct, err)
	}
	if media != "application/json" {
		return fault.Invalid("unsupported Content-Type header (%s): must be 'application/json'", ct)
	}
	return nil
}

// decode reads the body into out. No body leaves it as it is.
func (r *request) decode(out any) error { return DecodeJSON(r.Request, out) }

// DecodeJSON reads a request's body into out. No body leaves it as it is; one
// that is too large or no JSON is an error of the client's.
func DecodeJSON(r *http.Request, out any) error {
	if err := checkJSON(r); err != nil {
		return err
	}
	if r.ContentLength == 0 {
		return nil
	}
	body := &io.LimitedReader{R: r.Body, N: maxBody + 1}
	dec := json.NewDecoder(body)
	switch err := dec.Decode(out); {
	case body.N == 0:
		_, _ = io.CopyN(io.Discard, r.Body, maxDrain)
		return tooLarge{}
	case errors.Is(err, io.EOF):
		return fault.Invalid("invalid JSON: got EOF while reading request body")
	case err != nil:
		return fault.Invalid("invalid JSON: %w", err)
	}
	if dec.More() {
		return fault.Invalid("unexpected content after JSON")
	}
	return nil
}
