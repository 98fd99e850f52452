package kernel

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sysctl is a kernel setting: Key is its path below /proc/sys, as in
// "net/ipv4/ip_forward" (slashes, since link names may contain dots).
type Sysctl struct {
	Key      string
	Value    string
	Optional bool // a kernel that does not have it is fine
}

// SetSysctls applies the settings inside ns, in order. What has its value
// already is not written, so that a read-only /proc/sys does no harm then. A
// setting the kernel does not have is an error that is fs.ErrNotExist, unless
// it is optional.
func SetSysctls(ns *Namespace, list ...Sysctl) error {
	return Do(ns, func() error {
		for _, s := range list {
			if err := set(s); err != nil {
				return fmt.Errorf("set sysctl %s to %s: %w", s.Key, s.Value, err)
			}
		}
		return nil
	})
}

func set(s Sysctl) error {
	have, err := read(s.Key)
	if err == nil && have == s.Value {
		return nil
	}
	if err == nil {
		err = os.WriteFile(sysctlPath(s.Key), []byte(s.Value), 0)
	}
	if s.Optional && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// GetSysctl reads a setting inside ns, without the space around it.
func GetSysctl(ns *Namespace, key string) (string, error) {
	var value string
	err := Do(ns, func() (err error) {
		value, err = read(key)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read sysctl %s: %w", key, err)
	}
	return value, nil
}

func read(key string) (string, error) {
	b, err := os.ReadFile(sysctlPath(key))
	return strings.TrimSpace(string(b)), err
}

func sysctlPath(key string) string { return filepath.Join("/proc/sys", filepath.Clean("/"+key)) }

// KeepAdvertisedRoutes has the interfaces of ns that learn addresses and
// routes from routers go on learning them once ns forwards IPv6, where the
// kernel would have them stop: a host would lose its way out (accept_ra in
// Documentation/networking/ip-sysctl.rst). Those made later do not begin to
// learn, so that a container can't be their router.
func KeepAdvertisedRoutes(ns *Namespace) error {
	const unlessForwarding, always = "1", "2"
	return Do(ns, func() error {
		list, err := filepath.Glob(sysctlPath("net/ipv6/conf/*/accept_ra"))
		if err != nil {
			return err
		}
		for _, path := range list {
			if name := filepath.Base(filepath.Dir(path)); name == "all" || name == "default" {
				continue
			}
			have, err := os.ReadFile(path) //nolint:gosec // below /proc/sys
			if errors.Is(err, fs.ErrNotExist) {
				continue // the link is gone
			}
			if err != nil || strings.TrimSpace(string(have)) != unlessForwarding {
				continue
			}
			if err := os.WriteFile(path, []byte(always), 0); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("set %s to %s: %w", path, always, err)
			}
		}
		return nil
	})
}
