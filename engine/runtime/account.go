package runtime

import (
	"fmt"
	"strconv"
	"strings"

	"weft/engine/fault"
)

// account is who a process runs as.
type account struct {
	UID, GID int
	Home     string
}

// accounts are the built-in image's users; each has a group of its own name.
var accounts = []struct {
	name, group string
	account
}{
	{name: "root", group: "root", account: account{UID: 0, GID: 0, Home: "/root"}},
	{name: "nobody", group: "nogroup", account: account{UID: 65534, GID: 65534, Home: "/"}},
}

// passwdFile and groupFile render the accounts for /etc.
func passwdFile() string {
	var b strings.Builder
	for _, a := range accounts {
		fmt.Fprintf(&b, "%s:x:%d:%d:%s:%s:%s\n", a.name, a.UID, a.GID, a.name, a.Home, probePath)
	}
	return b.String()
}

func groupFile() string {
	var b strings.Builder
	for _, a := range accounts {
		fmt.Fprintf(&b, "%s:x:%d:\n", a.group, a.GID)
	}
	return b.String()
}

// idMax is the highest ID Docker accepts (moby/sys/user: 1<<31 - 1).
const idMax = 1<<31 - 1

// findAccount reads a --user value: name or UID, with a colon and a group name
// or GID where given. Empty means root. Errors have Docker's words.
func findAccount(user string) (account, error) {
	name, group, _ := strings.Cut(user, ":")
	acc, err := findUser(name)
	if err != nil || group == "" {
		return acc, err
	}
	for _, a := range accounts {
		if a.group == group {
			acc.GID = a.GID
			return acc, nil
		}
	}
	gid, err := parseID(group)
	if err != nil {
		return account{}, fault.Invalid("unable to find group %s: no matching entries in group file", group)
	}
	acc.GID = gid
	return acc, nil
}

func findUser(name string) (account, error) {
	if name == "" {
		return accounts[0].account, nil
	}
	uid, err := parseID(name)
	for _, a := range accounts {
		if a.name == name || (err == nil && a.UID == uid) {
			return a.account, nil
		}
	}
	if err != nil {
		return account{}, fault.Invalid("unable to find user %s: no matching entries in passwd file", name)
	}
	return account{UID: uid, Home: "/"}, nil
}

func parseID(s string) (int, error) {
	id, err := strconv.ParseUint(s, 10, 32)
	if err != nil || id > idMax {
		return 0, fmt.Errorf("not an ID: %q", s)
	}
	return int(id), nil
}
