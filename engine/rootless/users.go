package rootless

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// idRange is a run of user or group IDs of the machine.
type idRange struct{ first, count uint64 }

// subordinate reads the ranges a file like /etc/subuid (subuid(5)) gives a
// user, who is in it by name or by number.
func subordinate(text, name, uid string) []idRange {
	var out []idRange
	for line := range strings.Lines(text) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if len(fields) != 3 || (fields[0] != name && fields[0] != uid) {
			continue
		}
		first, err := strconv.ParseUint(fields[1], 10, 32)
		if err != nil {
			continue
		}
		count, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil || count == 0 {
			continue
		}
		out = append(out, idRange{first, count})
	}
	return out
}

// mapArgs gives the arguments of newuidmap(1) after the process: root inside
// is the user, the IDs from 1 on are the ranges in turn.
func mapArgs(own int, ranges []idRange) []string {
	args := []string{"0", strconv.Itoa(own), "1"}
	inside := uint64(1)
	for _, r := range ranges {
		args = append(args, strconv.FormatUint(inside, 10), strconv.FormatUint(r.first, 10), strconv.FormatUint(r.count, 10))
		inside += r.count
	}
	return args
}

// mapUsers gives a process that is alone in a new user namespace its users and
// groups: many where the system has some for this user, else one.
func mapUsers(pid int) error {
	users, groups, err := granted()
	if err != nil {
		return err
	}
	proc := fmt.Sprintf("/proc/%d/", pid)
	if users == nil {
		// Without privileges the kernel takes a group's map only from who has
		// given up setgroups(2) (user_namespaces(7)).
		for _, w := range []struct{ file, text string }{
			{"setgroups", "deny"},
			{"uid_map", fmt.Sprintf("0 %d 1", os.Geteuid())},
			{"gid_map", fmt.Sprintf("0 %d 1", os.Getegid())},
		} {
			if err := os.WriteFile(proc+w.file, []byte(w.text), 0); err != nil {
				return explain(fmt.Errorf("map the user: %w", err))
			}
		}
		return nil
	}
	for _, m := range []struct {
		program string
		args    []string
	}{{newuidmap, mapArgs(os.Geteuid(), users)}, {newgidmap, mapArgs(os.Getegid(), groups)}} {
		cmd := exec.Command(m.program, append([]string{strconv.Itoa(pid)}, m.args...)...) //nolint:gosec,noctx // ends at once
		if out, err := cmd.CombinedOutput(); err != nil {
			return fault.Internal("map users and groups: %s: %w: %s; look at /etc/subuid and /etc/subgid", m.program, err, bytes.TrimSpace(out))
		}
	}
	return nil
}

// The programs that map more than one user (package uidmap), and the files
// that say which.
const (
	newuidmap  = "newuidmap"
	newgidmap  = "newgidmap"
	subuidFile = "/etc/subuid"
	subgidFile = "/etc/subgid"
)

// granted gives the users and groups the system has for this user besides
// itself; none unless there are both, and the programs to map them.
func granted() (users, groups []idRange, err error) {
	for _, program := range []string{newuidmap, newgidmap} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, nil, nil //nolint:nilerr // one user it is
		}
	}
	uid := strconv.Itoa(os.Geteuid())
	name := uid
	if u, err := user.LookupId(uid); err == nil {
		name = u.Username
	}
	for _, f := range []struct {
		path string
		to   *[]idRange
	}{{subuidFile, &users}, {subgidFile, &groups}} {
		text, err := os.ReadFile(f.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fault.Internal("look for further users: %w", err)
		}
		*f.to = subordinate(string(text), name, uid)
	}
	if len(users) == 0 || len(groups) == 0 {
		return nil, nil, nil
	}
	return users, groups, nil
}

// Limits says what does not work for want of users, in one sentence with the
// fix; empty when nothing is amiss.
func Limits() string {
	users, _, err := granted()
	if err != nil || users != nil {
		return ""
	}
	return "only one user can be mapped: files of images all belong to root, and no process can become another user (--user); " +
		"install the package uidmap and give this user a range in " + subuidFile + " and " + subgidFile
}

// explain says what an administrator has to change when the kernel refuses a
// user namespace, or what takes privileges in one.
func explain(err error) error {
	const orRoot = ", or run this with sudo"
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ENOSPC):
		return fault.Forbidden("no user namespace can be made for this user: allow some with `sysctl user.max_user_namespaces=10000`"+orRoot+": %w", err)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EUSERS):
		return fault.Forbidden("this system lets no ordinary user make user namespaces: allow it with "+
			"`sysctl kernel.unprivileged_userns_clone=1` (Debian) or `sysctl kernel.apparmor_restrict_unprivileged_userns=0` (Ubuntu)"+orRoot+": %w", err)
	case errors.Is(err, syscall.EINVAL), errors.Is(err, unix.ENOSYS):
		return fault.Unsupported("this kernel has no user namespaces: use one with CONFIG_USER_NS"+orRoot+": %w", err)
	}
	return err
}
