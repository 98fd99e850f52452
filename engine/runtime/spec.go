package runtime

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"

	"weft/engine/containerd"
	"weft/engine/fault"
	"weft/engine/model"
)

// Spec is a container to be made. It does not change afterwards.
type Spec struct {
	ID      string // file-name safe, as Docker's 64 hex digits are
	Process model.ProcessSpec
	// Root is how the container's root file system is mounted. The built-in
	// image has none: its root is made of this program.
	Root    []mount.Mount
	Builtin bool
	// NetNS is the path of the network namespace to enter; it must exist when
	// the container starts. Empty: one of its own with nothing but loopback.
	NetNS string
	// Containerd is the daemon that makes the container's processes. Nil: its
	// shim does.
	Containerd *containerd.Ref
	Hosts      []HostEntry // after the loopback lines, in this order
	Resolve    Resolve
}

// HostEntry is a line of /etc/hosts.
type HostEntry struct {
	Addr  netip.Addr
	Names []string
}

// Resolve is what /etc/resolv.conf says. The zero value makes an empty file.
type Resolve struct {
	Servers []netip.Addr
	Search  []string
	Options []string
}

var (
	idForm  = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$`)
	envForm = regexp.MustCompile(`^[^=\x00]+(=[^\x00]*)?$`)
)

// hostnameMax is __NEW_UTS_LEN of the kernel's <linux/utsname.h>.
const hostnameMax = 64

func (s Spec) check() error {
	p := s.Process
	switch {
	case !idForm.MatchString(s.ID):
		return fault.Invalid("invalid container ID %q: use letters, digits, dot, dash and underscore", s.ID)
	case len(p.Hostname) > hostnameMax || strings.ContainsAny(p.Hostname, "\x00\n /"):
		return fault.Invalid("invalid hostname %q: at most %d characters, no spaces or slashes", p.Hostname, hostnameMax)
	case len(p.Domainname) > hostnameMax || strings.ContainsAny(p.Domainname, "\x00\n /"):
		return fault.Invalid("invalid domain name %q: at most %d characters, no spaces or slashes", p.Domainname, hostnameMax)
	case p.Dir != "" && !strings.HasPrefix(p.Dir, "/"):
		return fault.Invalid("the working directory '%s' is invalid, it needs to be an absolute path", p.Dir)
	case s.NetNS != "" && !strings.HasPrefix(s.NetNS, "/"):
		return fault.Invalid("network namespace %q is not an absolute path", s.NetNS)
	case len(s.Root) == 0 && !s.Builtin:
		return fault.Invalid("container %s has no root file system", s.ID)
	}
	if err := checkEnv(p.Env); err != nil {
		return err
	}
	for _, a := range slices.Concat(p.Entrypoint, p.Args, []string{p.Dir, p.User}) {
		if strings.ContainsRune(a, 0) {
			return fault.Invalid("a NUL byte in the command, directory or user: %q", a)
		}
	}
	if err := checkMounts(p.Mounts); err != nil {
		return err
	}
	return checkFiles(s.Hosts, s.Resolve)
}

func checkEnv(env []string) error {
	for _, e := range env {
		if !envForm.MatchString(e) {
			return fault.Invalid("invalid environment variable: %s", e)
		}
	}
	return nil
}

func checkMounts(mounts []model.Mount) error {
	for _, m := range mounts {
		switch {
		case !strings.HasPrefix(m.Target, "/") || strings.ContainsRune(m.Target+m.Source, 0):
			return fault.Invalid("invalid mount path: '%s' mount path must be absolute", m.Target)
		case m.Target == "/":
			return fault.Invalid("invalid mount path: a mount can't take the place of the root")
		case m.Kind != model.MountTmpfs && !strings.HasPrefix(m.Source, "/"):
			return fault.Invalid("invalid mount source %q: must be an absolute path", m.Source)
		}
	}
	return nil
}

func checkFiles(hosts []HostEntry, resolve Resolve) error {
	for _, h := range hosts {
		if !h.Addr.IsValid() || strings.ContainsAny(strings.Join(h.Names, ""), " \t\n") {
			return fault.Invalid("invalid hosts entry: %s %q", h.Addr, h.Names)
		}
	}
	if strings.ContainsAny(strings.Join(slices.Concat(resolve.Search, resolve.Options), ""), " \t\n") {
		return fault.Invalid("a space in a DNS search domain or option: %q %q", resolve.Search, resolve.Options)
	}
	return nil
}

// defaultPath is what Docker gives an image that has none
// (daemon/pkg/oci/defaults.go).
const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment is what Docker gives every container, then the container's own.
// A name alone unsets the variable, as with docker run. HOME follows when the
// user is known.
func environment(p model.ProcessSpec, hostname string) []string {
	base := []string{defaultPath, "HOSTNAME=" + hostname}
	if p.TTY {
		base = append(base, "TERM=xterm")
	}
	return mergeEnv(base, p.Env)
}

// mergeEnv applies changes to an environment.
func mergeEnv(base, changes []string) []string {
	var env []string
	for _, e := range slices.Concat(base, changes) {
		name, _, set := strings.Cut(e, "=")
		at := slices.IndexFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		switch {
		case at >= 0 && set:
			env[at] = e
		case at >= 0:
			env = slices.Delete(env, at, at+1)
		case set:
			env = append(env, e)
		}
	}
	return env
}
