package volume

import (
	"strings"

	"golang.org/x/sys/unix"

	"weft/engine/fault"
)

// checkOptions takes Docker's options of the driver "local", as far as they
// are about this machine (volume/local/local_unix.go).
func checkOptions(opts map[string]string) error {
	for name := range opts {
		switch name {
		case "type", "device", "o":
		case "size":
			return fault.Invalid("quota size requested but no quota support")
		default:
			return fault.Invalid("invalid option: %q", name)
		}
	}
	for _, needs := range []struct{ option, other string }{{"device", "type"}, {"type", "device"}, {"o", "device"}, {"o", "type"}} {
		_, given := opts[needs.option]
		if _, ok := opts[needs.other]; given && !ok {
			return fault.Invalid("missing required option: %q", needs.other)
		}
	}
	switch kind := opts["type"]; kind {
	case "nfs", "nfs4", "cifs", "smb3":
		return fault.Unsupported("this engine mounts no file systems of other machines (type=%s): "+
			"mount it on the host and name the directory (type=none, o=bind, device=/mnt/…)", kind)
	}
	return nil
}

// mountFlags are the options of mount(8) that mount(2) takes as flags.
var mountFlags = map[string]uintptr{
	"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
	"sync": unix.MS_SYNCHRONOUS, "dirsync": unix.MS_DIRSYNC, "mand": unix.MS_MANDLOCK, "noatime": unix.MS_NOATIME,
	"nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME, "strictatime": unix.MS_STRICTATIME,
	"bind": unix.MS_BIND, "rbind": unix.MS_BIND | unix.MS_REC,
}

// clearedFlags are the options that take a flag back.
var clearedFlags = map[string]uintptr{
	"rw": unix.MS_RDONLY, "suid": unix.MS_NOSUID, "dev": unix.MS_NODEV, "exec": unix.MS_NOEXEC, "async": unix.MS_SYNCHRONOUS,
	"atime": unix.MS_NOATIME, "diratime": unix.MS_NODIRATIME, "norelatime": unix.MS_RELATIME, "defaults": 0,
}

// parseOptions gives the options of mount(8) in mount(2)'s terms.
func parseOptions(o string) (flags uintptr, data string) {
	var rest []string
	for option := range strings.SplitSeq(o, ",") {
		if flag, ok := mountFlags[option]; ok {
			flags |= flag
		} else if flag, ok := clearedFlags[option]; ok {
			flags &^= flag
		} else if option != "" {
			rest = append(rest, option)
		}
	}
	return flags, strings.Join(rest, ",")
}
