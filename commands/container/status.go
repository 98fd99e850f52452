package container

import (
	"fmt"
	"strings"

	"weft/commands/cmdenv"
)

// Exit codes of a container that could not be started, as a shell's.
const (
	codeNotExecutable = 126
	codeNotFound      = 127
)

// withHelp puts an error the way docker shows those of run and create.
func withHelp(err error, command string) string {
	return fmt.Sprintf("%s: %v\n\nRun '%s %s --help' for more information", cmdenv.Program, err, cmdenv.Program, command)
}

// usageError is an error in the flags.
func usageError(err error, command string) error {
	return cmdenv.StatusError{Code: cmdenv.CodeUsage, Status: withHelp(err, command), Cause: err}
}

// startError gives an error of making or starting the container the code a
// shell would give. The daemon passes the runtime's message on as text, so the
// text decides.
func startError(err error) error {
	code, text := cmdenv.CodeUsage, err.Error()
	switch {
	case containsAny(text, "executable file not found", "no such file or directory", "system cannot find the file specified"):
		code = codeNotFound
	case containsAny(text, "permission denied", "is a directory"):
		code = codeNotExecutable
	}
	return cmdenv.StatusError{Code: code, Status: withHelp(err, "run"), Cause: err}
}

func containsAny(text string, parts ...string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}
