package rootless

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func TestSubordinate(t *testing.T) {
	const file = "# comment\nroot:100000:65536\nann:165536:65536\n1000:300000:10\nann:x:1\nann:1\nann:7:0\n\n"
	for _, c := range []struct {
		name, uid string
		want      []idRange
	}{
		{"ann", "1000", []idRange{{165536, 65536}, {300000, 10}}},
		{"bob", "1000", []idRange{{300000, 10}}},
		{"bob", "1001", nil},
	} {
		if got := subordinate(file, c.name, c.uid); !slices.Equal(got, c.want) {
			t.Errorf("%s (%s): %v, want %v", c.name, c.uid, got, c.want)
		}
	}
}

func TestMapArgs(t *testing.T) {
	got := strings.Join(mapArgs(1000, []idRange{{100000, 65536}, {300000, 10}}), " ")
	if want := "0 1000 1 1 100000 65536 65537 300000 10"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		cause error
		class func(error) bool
		fix   string
	}{
		{unix.ENOSPC, errdefs.IsPermissionDenied, "sysctl user.max_user_namespaces"},
		{unix.EPERM, errdefs.IsPermissionDenied, "kernel.unprivileged_userns_clone=1"},
		{unix.EACCES, errdefs.IsPermissionDenied, "kernel.apparmor_restrict_unprivileged_userns=0"},
		{unix.EINVAL, errdefs.IsNotImplemented, "CONFIG_USER_NS"},
		{failure(fmt.Errorf("mount /proc: %w", unix.EPERM)).err(), errdefs.IsPermissionDenied, "mount /proc"},
	} {
		err := explain(fmt.Errorf("make a user namespace: %w", c.cause))
		if !c.class(err) || !strings.Contains(err.Error(), c.fix) || !errors.Is(err, c.cause) {
			t.Errorf("%v becomes %v, want %q in it", c.cause, err, c.fix)
		}
	}
	if err := explain(errors.New("other")); err.Error() != "other" || explain(nil) != nil {
		t.Errorf("what is not about user namespaces is explained: %v", err)
	}
}
