package cmdenv

import (
	"errors"
	"fmt"
	"strings"

	"github.com/docker/docker/api/types/versions"
	"github.com/spf13/pflag"
)

// sinceAnnotation holds the version of the API that a flag needs.
const sinceAnnotation = "since"

// Since marks flags that engines understand from a version of the API on.
func Since(set *pflag.FlagSet, version string, flags ...string) {
	for _, name := range flags {
		if err := set.SetAnnotation(name, sinceAnnotation, []string{version}); err != nil {
			panic(err) // there is no such flag: a mistake in the command
		}
	}
}

// CheckSince refuses the given flags that an engine of this version of the API
// does not understand: it would ignore them.
func CheckSince(set *pflag.FlagSet, version string) error {
	var lines []string
	set.Visit(func(f *pflag.Flag) {
		if since := f.Annotations[sinceAnnotation]; len(since) > 0 && versions.LessThan(version, since[0]) {
			lines = append(lines, fmt.Sprintf(`"--%s" requires API version %s, but the Docker daemon API version is %s`, f.Name, since[0], version))
		}
	})
	if len(lines) == 0 {
		return nil
	}
	return errors.New(strings.Join(lines, "\n"))
}
