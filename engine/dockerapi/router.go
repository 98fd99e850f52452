package dockerapi

import (
	"net/http"
	"strings"
)

// support says how far an endpoint is Docker's.
type support string

const (
	same    support = "same"
	differs support = "differs" // route.note says in what
	absent  support = "absent"  // route.note says what is missing, and is the answer
)

type handler func(*Server, *response, *request) error

// route is one endpoint of Docker's API.
type route struct {
	method  string
	pattern string // {x} is one segment, {x...} one or more
	handle  handler
	support support
	note    string
}

func get(pattern string, h handler) route { return route{http.MethodGet, pattern, h, same, ""} }

func post(pattern string, h handler) route { return route{http.MethodPost, pattern, h, same, ""} }

func del(pattern string, h handler) route { return route{http.MethodDelete, pattern, h, same, ""} }

// but notes in what an endpoint differs from Docker's.
func (r route) but(note string) route {
	r.support, r.note = differs, note
	return r
}

// lacking gives endpoints nobody serves; each is "METHOD /pattern".
func lacking(why string, endpoints ...string) []route {
	out := make([]route, len(endpoints))
	for i, e := range endpoints {
		method, pattern, _ := strings.Cut(e, " ")
		out[i] = route{method, pattern, nil, absent, why}
	}
	return out
}

// router finds the first route that matches, in the order given.
type router struct {
	routes   []route
	segments [][]string // of each route's pattern
}

func newRouter(routes []route) router {
	rt := router{routes: routes, segments: make([][]string, len(routes))}
	for i, r := range routes {
		rt.segments[i] = split(r.pattern)
	}
	return rt
}

// split gives the segments of a path. dockerd redirects a path with a double
// slash (which a name with its leading slash makes) to one without.
func split(path string) []string {
	return strings.FieldsFunc(path, func(c rune) bool { return c == '/' })
}

func (rt router) find(r *http.Request) (*route, *request) {
	path := split(r.URL.Path)
	req := &request{Request: r, version: MaxVersion}
	if len(path) > 0 && isVersion(path[0]) {
		req.version, path = path[0][1:], path[1:]
	}
	for i := range rt.routes {
		if rt.routes[i].method != r.Method {
			continue
		}
		if vars, ok := match(rt.segments[i], path); ok {
			req.vars = vars
			return &rt.routes[i], req
		}
	}
	return nil, req
}

// isVersion reports whether a segment selects a version: "v" and digits and
// dots.
func isVersion(s string) bool {
	return len(s) > 1 && s[0] == 'v' && strings.Trim(s[1:], "0123456789.") == ""
}

// match binds a path's segments to a pattern with at most one {x...}.
func match(pattern, path []string) (map[string]string, bool) {
	spare := len(path) - len(pattern)
	if spare < 0 {
		return nil, false
	}
	vars := map[string]string{}
	for _, p := range pattern {
		name, isVar := strings.CutPrefix(p, "{")
		name = strings.TrimSuffix(name, "}")
		greedy, isGreedy := strings.CutSuffix(name, "...")
		switch {
		case !isVar && p != path[0]:
			return nil, false
		case isVar && isGreedy:
			vars[greedy] = strings.Join(path[:1+spare], "/")
			path, spare = path[spare:], 0
		case isVar:
			vars[name] = path[0]
		}
		path = path[1:]
	}
	return vars, len(path) == 0
}
