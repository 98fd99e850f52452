package control

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/swarmkit/v2/api"

	"weft/engine/model"
)

func TestTaskMounts(t *testing.T) {
	t.Parallel()
	got, err := taskMounts([]api.Mount{
		{Type: api.MountTypeBind, Source: "/a/../b", Target: "/b", ReadOnly: true, BindOptions: &api.Mount_BindOptions{Propagation: api.MountPropagationRSlave}},
		{Type: api.MountTypeVolume, Source: "data", Target: "/d", VolumeOptions: &api.Mount_VolumeOptions{
			NoCopy: true, Labels: map[string]string{"a": "b"}, DriverConfig: &api.Driver{Name: "local", Options: map[string]string{"type": "tmpfs", "device": "tmpfs"}},
		}},
		{Type: api.MountTypeVolume, Target: "/anon"},
		{Type: api.MountTypeTmpfs, Target: "/t", TmpfsOptions: &api.Mount_TmpfsOptions{SizeBytes: 1 << 20, Mode: 0o700, Options: `[["exec"]]`}},
	})
	want := []model.Mount{
		{Kind: model.MountBind, Form: model.MountAsMount, Source: "/b", Target: "/b", ReadOnly: true, Propagation: "rslave"},
		{
			Kind: model.MountVolume, Form: model.MountAsMount, Name: "data", Target: "/d", NoCopy: true,
			VolumeLabels: map[string]string{"a": "b"}, VolumeOptions: map[string]string{"type": "tmpfs", "device": "tmpfs"},
		},
		{Kind: model.MountVolume, Form: model.MountAsMount, Target: "/anon"},
		{Kind: model.MountTmpfs, Form: model.MountAsMount, Target: "/t", Options: []string{"size=1048576", "mode=700", "exec"}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, c := range []struct {
		mounts []api.Mount
		want   string
	}{
		{[]api.Mount{{Type: api.MountTypeCluster, Target: "/x"}}, "this engine cannot run tasks with mounts of type cluster: use bind, volume or tmpfs"},
		{[]api.Mount{{Type: api.MountTypeBind, Source: "x", Target: "/x"}}, "invalid bind mount source, must be an absolute path: x"},
		{[]api.Mount{{Type: api.MountTypeTmpfs, Target: "x"}}, "invalid mount target, must be an absolute path: x"},
		{[]api.Mount{{Type: api.MountTypeTmpfs, Target: "/x", TmpfsOptions: &api.Mount_TmpfsOptions{Options: "exec"}}}, "invalid tmpfs options exec: invalid character 'e' looking for beginning of value"},
		{[]api.Mount{{Type: api.MountTypeTmpfs, Target: "/"}}, "invalid mount target, must be an absolute path: /"},
		{[]api.Mount{{Type: api.MountTypeTmpfs, Target: "/x"}, {Type: api.MountTypeTmpfs, Target: "/y/../x"}}, "invalid mount target, duplicate target: /y/../x"},
		{
			[]api.Mount{{Type: api.MountTypeVolume, Target: "/x", VolumeOptions: &api.Mount_VolumeOptions{DriverConfig: &api.Driver{Name: "nfs"}}}},
			"this engine cannot run tasks with volumes of driver nfs: its volumes are local",
		},
	} {
		if _, err := taskMounts(c.mounts); err == nil || err.Error() != c.want {
			t.Errorf("%v: %v, want %s", c.mounts, err, c.want)
		}
	}
}
