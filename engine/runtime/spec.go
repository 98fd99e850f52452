package runtime

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"weft/engine/fault"
	"weft/engine/model"
)

// Spec is a container to be made. It does not change afterwards.
type Spec struct {
	ID      string // file-name safe, as Docker's 64 hex digits are
	Process model.ProcessSpec
	// NetNS is the path of the network namespace to enter; it must exist when
	// the container starts. Empty: one of its own with nothing but loopback.
	NetNS   string
	Hosts   []HostEntry // after the loopback lines, in this order
	Resolve Resolve
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
	case p.TTY:
		return fault.Unsupported("weft's embedded runtime has no terminals yet: leave out -t (--tty)")
	case p.Dir != "" && !strings.HasPrefix(p.Dir, "/"):
		return fault.Invalid("the working directory '%s' is invalid, it needs to be an absolute path", p.Dir)
	case s.NetNS != "" && !strings.HasPrefix(s.NetNS, "/"):
		return fault.Invalid("network namespace %q is not an absolute path", s.NetNS)
	}
	for _, e := range p.Env {
		if !envForm.MatchString(e) {
			return fault.Invalid("invalid environment variable: %s", e)
		}
	}
	for _, a := range slices.Concat(p.Entrypoint, p.Args, []string{p.Dir, p.User}) {
		if strings.ContainsRune(a, 0) {
			return fault.Invalid("a NUL byte in the command, directory or user: %q", a)
		}
	}
	for _, h := range s.Hosts {
		if !h.Addr.IsValid() || strings.ContainsAny(strings.Join(h.Names, ""), " \t\n") {
			return fault.Invalid("invalid hosts entry: %s %q", h.Addr, h.Names)
		}
	}
	if strings.ContainsAny(strings.Join(slices.Concat(s.Resolve.Search, s.Resolve.Options), ""), " \t\n") {
		return fault.Invalid("a space in a DNS search domain or option: %q %q", s.Resolve.Search, s.Resolve.Options)
	}
	return nil
}

// bundle is what the shim reads of a container: the specification with the
// image's part resolved.
type bundle struct {
	ID        string
	Argv      []string
	Env       []string
	Dir       string
	User      account
	Hostname  string
	OpenStdin bool
	NetNS     string
	Hosts     []HostEntry
	Resolve   Resolve
}

// command is what runs, by Docker's rule: an entrypoint of its own makes the
// image's default arguments void.
func command(img Image, p model.ProcessSpec) []string {
	entry, args := p.Entrypoint, p.Args
	if len(entry) == 0 {
		entry = img.Entrypoint
		if len(args) == 0 {
			args = img.Cmd
		}
	}
	return slices.Concat(entry, args)
}

// environment is the image's, then what Docker adds, then the caller's. A name
// alone unsets the variable, as with docker run.
func environment(img Image, p model.ProcessSpec, hostname, home string) []string {
	base := slices.Concat(img.Env, []string{"HOSTNAME=" + hostname})
	if !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		base = append(base, "HOME="+home)
	}
	var env []string
	for _, e := range slices.Concat(base, p.Env) {
		name, _, set := strings.Cut(e, "=")
		env = slices.DeleteFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
		if set {
			env = append(env, e)
		}
	}
	return env
}

// resolve fills in what s leaves to the image.
func (s Spec) resolve(img Image) (bundle, error) {
	user, err := findAccount(s.Process.User)
	if err != nil {
		return bundle{}, err
	}
	hostname := s.Process.Hostname
	if hostname == "" {
		const short = 12 // Docker's hostname is the short form of the ID
		hostname = s.ID[:min(short, len(s.ID))]
	}
	dir := s.Process.Dir
	if dir == "" {
		dir = img.Dir
	}
	return bundle{
		ID:        s.ID,
		Argv:      command(img, s.Process),
		Env:       environment(img, s.Process, hostname, user.Home),
		Dir:       dir,
		User:      user,
		Hostname:  hostname,
		OpenStdin: s.Process.OpenStdin,
		NetNS:     s.NetNS,
		Hosts:     s.Hosts,
		Resolve:   s.Resolve,
	}, nil
}
