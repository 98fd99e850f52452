package cmdenv

import "strings"

// Program is the name commands call themselves by in advice to the user.
const Program = "weft"

// AliasesAnnotation holds, on a command that can be called by other names than
// its aliases, all of them as its help lists them.
const AliasesAnnotation = "aliases"

// AlsoKnownAs gives the annotation that lists the ways to call a command.
func AlsoKnownAs(names ...string) map[string]string {
	full := make([]string, 0, len(names))
	for _, n := range names {
		full = append(full, Program+" "+n)
	}
	return map[string]string{AliasesAnnotation: strings.Join(full, ", ")}
}
