package cmdenv

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// Dirs are directories of weft's.
type Dirs struct {
	Data string // what survives a reboot
	Run  string // sockets and the like; as a rule cleared by a reboot
}

func systemDirs() Dirs { return Dirs{Data: "/var/lib/weft", Run: "/run/weft"} }

// RootlessVar is in the environment of what weft runs in a user namespace,
// where an ordinary user is root.
const RootlessVar = "WEFT_ROOTLESS"

// DefaultDirs gives the directories of a user: of the system for root, and
// otherwise those the XDG Base Directory Specification has. Where there is no
// runtime directory, that of another user or none, the run directory is in the
// data directory.
func DefaultDirs(uid int, getenv func(string) string) Dirs {
	if uid == 0 && getenv(RootlessVar) == "" {
		return systemDirs()
	}
	data := getenv("XDG_DATA_HOME")
	if !filepath.IsAbs(data) {
		data = filepath.Join("/", getenv("HOME"), ".local", "share")
	}
	d := Dirs{Data: filepath.Join(data, "weft")}
	d.Run = filepath.Join(d.Data, "run")
	if dir := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		d.Run = filepath.Join(dir, "weft")
	} else if dir := filepath.Join("/run/user", strconv.Itoa(uid)); ownedBy(dir, uid) {
		d.Run = filepath.Join(dir, "weft")
	}
	return d
}

func ownedBy(dir string, uid int) bool {
	info, err := os.Stat(dir)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == uid
}
