package system

import (
	"runtime"
	"runtime/debug"
	"time"

	"github.com/docker/docker/api"

	"weft/commands/cmdenv"
)

// clientVersion is what there is to say about this program.
type clientVersion struct {
	Version           string `json:",omitempty"`
	APIVersion        string `json:"ApiVersion,omitempty"`
	DefaultAPIVersion string `json:",omitempty"`
	GitCommit         string `json:",omitempty"`
	GoVersion         string `json:",omitempty"`
	Os                string `json:",omitempty"`
	Arch              string `json:",omitempty"`
	BuildTime         string `json:",omitempty"`
	Context           string
}

// newClientVersion describes this program, speaking the API version given.
func newClientVersion(env *cmdenv.Env, apiVersion string) clientVersion {
	return clientVersion{
		Version:           cmdenv.Version,
		APIVersion:        apiVersion,
		DefaultAPIVersion: api.DefaultVersion,
		GitCommit:         cmdenv.Build(),
		GoVersion:         runtime.Version(),
		Os:                runtime.GOOS,
		Arch:              runtime.GOARCH,
		BuildTime:         buildTime(),
		Context:           env.ContextName(),
	}
}

// buildTime is when the commit was made that this program was built from.
func buildTime() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			return readableTime(s.Value)
		}
	}
	return "unknown"
}

// readableTime turns an RFC 3339 time into one for people; what is not one
// stays as it is.
func readableTime(s string) string {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.Format(time.ANSIC)
	}
	return s
}

// engineFound says which engine answered and how it was found.
type engineFound struct {
	Kind    string // builtin or docker
	Host    string
	Found   string
	WeftAPI string `json:",omitempty"` // version of weft's own API, of the built-in engine
}

func newEngineFound(e cmdenv.Engine) *engineFound {
	return &engineFound{Kind: string(e.Kind), Host: e.Host, Found: e.Found, WeftAPI: e.WeftAPI}
}

func (e *engineFound) String() string {
	kind := e.Kind
	if e.WeftAPI != "" {
		kind += " (weft API " + e.WeftAPI + ")"
	}
	return kind + " at " + e.Host + ", found by " + e.Found
}
