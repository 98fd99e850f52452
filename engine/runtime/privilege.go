package runtime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/pkg/cap"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// account is who a process runs as.
type account struct {
	UID, GID int
	Groups   []int // additional
	Home     string
}

// findAccount reads a --user value by the container's own /etc: name or UID,
// with a colon and a group name or GID where given. Empty means root.
func findAccount(name string, groups []string) (account, error) {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return account{}, fmt.Errorf("look user up: %w", err)
	}
	defer func() { _ = unix.Close(root) }()
	return accountAt(root, name, groups)
}

// accountAt reads it by the /etc of a root that is not this process's.
func accountAt(root int, name string, groups []string) (account, error) {
	var files [2][]byte
	for i, file := range []string{"etc/passwd", "etc/group"} {
		var err error
		if files[i], err = readInRoot(root, file); err != nil {
			return account{}, fmt.Errorf("look user up: %w", err)
		}
	}
	passwd, group := files[0], files[1]
	found, err := user.GetExecUser(name, &user.ExecUser{Home: "/"}, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return account{}, &ExecError{Msg: err.Error()}
	}
	acc := account{UID: found.Uid, GID: found.Gid, Groups: found.Sgids, Home: found.Home}
	more, err := user.GetAdditionalGroups(groups, bytes.NewReader(group))
	if err != nil && len(groups) > 0 {
		return account{}, &ExecError{Msg: err.Error()}
	}
	// The first group is among the others, as in Docker: else a file could deny
	// it more than everybody (CVE-2022-36109).
	acc.Groups = slices.Compact(slices.Sorted(slices.Values(slices.Concat([]int{acc.GID}, acc.Groups, more))))
	return acc, nil
}

// accountsMax bounds what is read of a file of accounts.
const accountsMax = 16 << 20

// readInRoot reads a regular file below a root that others have made: no link
// leads out of it. One that is not there is empty.
func readInRoot(root int, name string) ([]byte, error) {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_NOCTTY, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open /%s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, accountsMax))
}

// rlimitNumbers are RLIMIT_* of <asm-generic/resource.h>, by the names the
// OCI's specification has.
var rlimitNumbers = map[string]int{
	"RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4, "RLIMIT_RSS": 5,
	"RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9, "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11,
	"RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13, "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}

// bound sets the limits of the process.
func bound(p *specs.Process) error {
	for _, l := range p.Rlimits {
		limit := unix.Rlimit{Cur: l.Soft, Max: l.Hard}
		if err := unix.Prlimit(0, rlimitNumbers[l.Type], &limit, nil); err != nil {
			return fmt.Errorf("set %s: %w", l.Type, err)
		}
	}
	if p.OOMScoreAdj == nil || *p.OOMScoreAdj == 0 {
		return nil
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte(strconv.Itoa(*p.OOMScoreAdj)), 0); err != nil {
		return fmt.Errorf("set OOM score: %w", err)
	}
	return nil
}

// dropPrivileges makes this thread the user, with the specification's
// capabilities if that is root and with none otherwise. The bounding set is
// theirs in any case: a program with set-user-ID root gets no more.
func dropPrivileges(user account, p *specs.Process) error {
	kept := capBits(p.Capabilities.Bounding)
	for c := range cap.Known() {
		if kept&(1<<c) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if err != nil && !errors.Is(err, unix.EINVAL) { // EINVAL: an older kernel knows fewer
			return fmt.Errorf("drop capability %d: %w", c, err)
		}
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("drop ambient capabilities: %w", err)
	}
	if err := become(user); err != nil {
		return err
	}
	own := capBits(p.Capabilities.Effective)
	if user.UID != 0 {
		own = 0
	}
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(own), uint32(own>>32)
	data := [2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
	if err := unix.Capset(&head, &data[0]); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if !p.NoNewPrivileges {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// capBits gives a set of capabilities by their numbers.
func capBits(names []string) uint64 {
	var bits uint64
	for c, name := range cap.Known() {
		if slices.Contains(names, name) {
			bits |= 1 << c
		}
	}
	return bits
}

// checkMapped fails when this user namespace does not have the account's user
// or group: without privileges there may be a single one, root.
func checkMapped(acc account) error {
	for _, id := range []struct {
		kind, file string
		id         int
	}{{"user", "/proc/self/uid_map", acc.UID}, {"group", "/proc/self/gid_map", acc.GID}} {
		ranges, err := user.ParseIDMapFile(id.file)
		if err != nil {
			return fmt.Errorf("look up which users there are: %w", err)
		}
		if !slices.ContainsFunc(ranges, func(r user.IDMap) bool { return int64(id.id) >= r.ID && int64(id.id)-r.ID < r.Count }) {
			return &ExecError{Msg: fmt.Sprintf("%s %d does not exist in the engine's user namespace: "+
				"install uidmap and give the engine's user a range in /etc/subuid and /etc/subgid", id.kind, id.id)}
		}
	}
	return nil
}

// groupsDenied reports whether groups can't be set here, as in a user
// namespace with a single group (user_namespaces(7)).
func groupsDenied() bool {
	text, err := os.ReadFile("/proc/self/setgroups")
	return err == nil && strings.TrimSpace(string(text)) == "deny"
}

// become sets the thread's user and groups. The system calls are made by hand:
// the syscall package's apply to all threads of the process, and those in
// other namespaces or states make it fail.
func become(user account) error {
	groups := make([]uint32, len(user.Groups))
	for i, g := range user.Groups {
		groups[i] = uint32(g) //nolint:gosec // at most 1<<31 - 1
	}
	if err := setGroups(groups); err != nil && !groupsDenied() {
		return fmt.Errorf("set groups: %w", err)
	}
	gid, uid := uintptr(user.GID), uintptr(user.UID)
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); errno != 0 {
		return fmt.Errorf("become group %d: %w", gid, errno)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); errno != 0 {
		return fmt.Errorf("become user %d: %w", uid, errno)
	}
	return nil
}
