package container

import "fmt"

// When an image is fetched.
const (
	pullAlways  = "always"
	pullMissing = "missing"
	pullNever   = "never"
)

func checkPull(when string) error {
	switch when {
	case pullAlways, pullMissing, pullNever, "":
		return nil
	}
	return fmt.Errorf("invalid pull option: '%s': must be one of %q, %q or %q", when, pullAlways, pullMissing, pullNever)
}
