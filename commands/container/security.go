package container

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// applySecurity reads --security-opt. A seccomp profile is a file of ours whose
// text is sent; systempaths=unconfined is not an option to the daemon but no
// paths to hide.
func applySecurity(options []string, h *container.HostConfig) error {
	if len(options) == 0 {
		return nil
	}
	h.SecurityOpt = make([]string, 0, len(options))
	for _, option := range options {
		option, err := securityOption(option)
		if err != nil {
			return err
		}
		if option == "systempaths=unconfined" {
			h.MaskedPaths, h.ReadonlyPaths = []string{}, []string{}
			continue
		}
		h.SecurityOpt = append(h.SecurityOpt, option)
	}
	return nil
}

func securityOption(option string) (string, error) {
	const alone = "no-new-privileges" // the one that needs no value
	key, value, ok := strings.Cut(option, "=")
	if !ok && key != alone {
		key, value, ok = strings.Cut(option, ":") // as it was written first
	}
	if (!ok || value == "") && key != alone {
		return "", fmt.Errorf("Invalid --security-opt: %q", option) //nolint:staticcheck // docker's wording
	}
	if key != "seccomp" || value == "builtin" || value == "unconfined" {
		return option, nil
	}
	profile, err := os.ReadFile(value) //nolint:gosec // G304: the path is the user's
	if err != nil {
		return "", fmt.Errorf("opening seccomp profile (%s) failed: %w", value, err)
	}
	var text bytes.Buffer
	if err := json.Compact(&text, profile); err != nil {
		return "", fmt.Errorf("compacting json for seccomp profile (%s) failed: %w", value, err)
	}
	return "seccomp=" + text.String(), nil
}
