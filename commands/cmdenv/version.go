package cmdenv

import "runtime/debug"

// Version is weft's version.
const Version = "0.1.0"

// Build gives the abbreviated commit this binary was built from, "unknown" if
// the build did not record it.
func Build() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 7 {
			return s.Value[:7]
		}
	}
	return "unknown"
}
