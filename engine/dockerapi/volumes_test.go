package dockerapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/engine/model"
)

func TestCLIVolumes(t *testing.T) {
	eachCLI(t, func(t *testing.T, c cli) {
		if out := c.says("volume", "create", "--label", "a=b", "data"); out != "data" {
			t.Error(out)
		}
		if out := c.says("volume", "create"); len(out) != 64 {
			t.Error(out)
		}
		if out := c.says("volume", "inspect", "-f", "{{.Name}} {{.Driver}} {{.Scope}} {{.Mountpoint}} {{.Labels}} {{.Options}}", "data"); out != "data local local /volumes/data/_data map[a:b] map[]" {
			t.Error(out)
		}
		c.fails(1, "nope", "volume", "inspect", "nope") // 20.10 has words of its own
		c.fails(1, `error looking up volume plugin nfs: plugin "nfs" not found`, "volume", "create", "-d", "nfs", "x")
		c.says("run", "-d", "--name", "web", "--network", "none", "-v", "data:/data:ro", "-v", "/plain", "--mount", "type=volume,src=other,dst=/o,volume-nocopy", "--tmpfs", "/t:size=1m", "weft/probe")
		if out := c.says("inspect", "-f", "{{range .Mounts}}{{.Type}} {{.Destination}} {{.Mode}} {{.RW}} {{.Driver}}\n{{end}}{{.HostConfig.Binds}} {{.HostConfig.Tmpfs}} {{.Config.Volumes}}", "web"); out !=
			"volume /data ro false local\nvolume /o z true local\nvolume /plain  true local\n[data:/data:ro] map[/t:size=1m] map[/plain:{}]" {
			t.Error(out)
		}
		if out := c.says("ps", "--filter", "volume=data", "--format", "{{.Names}} {{.Mounts}}"); !strings.HasPrefix(out, "web data,other,") {
			t.Error(out)
		}
		if out := c.says("ps", "-q", "--filter", "volume=nope"); out != "" {
			t.Error(out)
		}
		c.fails(1, "remove data: volume is in use - [", "volume", "rm", "data")
		if out := c.says("volume", "ls", "-q", "--filter", "dangling=false", "--filter", "label=a"); out != "data" {
			t.Error(out)
		}
		c.says("rm", "-f", "-v", "web")
		if out := c.says("volume", "ls", "-q", "--filter", "name=ata"); out != "data" {
			t.Error(out)
		}
		if out := c.says("volume", "prune", "-f"); !strings.Contains(out, "Total reclaimed space: ") {
			t.Error(out)
		}
		c.says("volume", "create", "data") // which the prune of older APIs took
		c.says("volume", "rm", "data")
		c.fails(1, "data", "volume", "rm", "data")
		c.says("volume", "rm", "-f", "data")
	})
}

func TestVolumesPrune(t *testing.T) {
	for _, c := range []struct{ version, filters, want string }{
		{"1.41", "", "[anon data keep]"},
		{"1.42", "", "[anon]"},
		{"1.51", `{"all":["true"]}`, "[anon data keep]"},
		{"1.51", `{"all":["0"]}`, "[anon]"},
		{"1.51", `{"all":["1"],"label":["a"]}`, "[data]"},
		{"1.51", `{"all":["1"],"label!":["keep"]}`, "[anon data]"},
	} {
		b := newBed(t)
		b.ok("POST", "/volumes/create", `{"Name":"data","Labels":{"a":"b"}}`)
		b.ok("POST", "/volumes/create", `{"Name":"keep","Labels":{"keep":""}}`)
		b.ok("POST", "/volumes/create", `{"Name":"anon","Labels":{"`+model.AnonymousVolume+`":""}}`)
		got := parse[struct{ VolumesDeleted []string }](t, b.ok("POST", "/v"+c.version+"/volumes/prune?filters="+c.filters, ""))
		if text := "[" + strings.Join(got.VolumesDeleted, " ") + "]"; text != c.want {
			t.Errorf("%s %s: %s, want %s", c.version, c.filters, text, c.want)
		}
	}
	b := newBed(t)
	b.refused("POST", `/volumes/prune?filters={"all":["x"]}`, "", 400, `invalid filter 'all=x': strconv.ParseBool: parsing "x": invalid syntax`)
	b.refused("GET", `/volumes?filters={"nope":["x"]}`, "", 400, "invalid filter 'nope'")
	b.refused("POST", "/volumes/create", "", 400, "invalid JSON: got EOF while reading request body")
}

func TestMountForms(t *testing.T) {
	b := newBed(t)
	b.ok("POST", "/containers/create?name=c", `{"Image":"weft/probe","Volumes":{"/own":{}},"HostConfig":{
		"Binds":["/a/../b:/c:ro,rslave","v:/d","/only"],"VolumesFrom":["x:ro"],
		"Mounts":[{"Type":"bind","Source":"/m","Target":"/n","BindOptions":{"CreateMountpoint":true}},
			{"Type":"volume","Source":"w","Target":"/w","VolumeOptions":{"NoCopy":true,"Labels":{"l":"1"},"DriverConfig":{"Name":"local","Options":{"type":"tmpfs","device":"tmpfs"}}}}]}}`)
	spec, err := b.Spec("c")
	if err != nil {
		t.Fatal(err)
	}
	for i := range spec.Process.Mounts {
		if m := &spec.Process.Mounts[i]; m.Anonymous {
			m.Name, m.Source = "", ""
		}
	}
	want := []model.Mount{
		{Kind: model.MountBind, Form: model.MountAsBind, Source: "/b", Target: "/c", ReadOnly: true, Propagation: "rslave", Mode: "ro,rslave", MakeSource: true},
		{Kind: model.MountVolume, Form: model.MountAsBind, Name: "v", Source: "/volumes/v/_data", Target: "/d"},
		{Kind: model.MountVolume, Form: model.MountAsBind, Target: "/only", Anonymous: true},
		{Kind: model.MountBind, Form: model.MountAsMount, Source: "/m", Target: "/n", MakeSource: true},
		{
			Kind: model.MountVolume, Form: model.MountAsMount, Name: "w", Source: "/volumes/w/_data", Target: "/w", NoCopy: true,
			VolumeLabels: map[string]string{"l": "1"}, VolumeOptions: map[string]string{"type": "tmpfs", "device": "tmpfs"},
		},
		{Kind: model.MountVolume, Target: "/own", Anonymous: true},
	}
	if diff := cmp.Diff(want, spec.Process.Mounts); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"x:ro"}, spec.VolumesFrom); diff != "" {
		t.Error(diff)
	}
}
