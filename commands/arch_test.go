package commands_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// layer says which packages of this module the packages under prefix may
// import, besides those of their own component (engine/gossip/record is of
// engine/gossip).
type layer struct {
	prefix string
	may    []string
}

// values are what every layer may use: they do nothing.
var values = []string{"engine/model", "engine/fault"}

// layers are looked through in order; the first that covers a package counts.
// A prefix that ends in a slash covers what is below it, but not itself.
func layers() []layer {
	with := func(more ...string) []string { return append(more, values...) }
	return []layer{
		{"cmd", []string{"commands"}},
		{"commands/enginecmd", with("commands", "engine")},
		{"commands/labcmd", with("commands", "engine/lab", "engine/rootless")},
		{"commands", with("commands", "tui", "wizard")},
		{"tui", with("tui", "wizard")},
		{"wizard", with("wizard")},
		{"engine/model", nil},
		{"engine/fault", nil},
		{"engine/event", with()},
		{"engine/kernel", with()},
		{"engine/probe", with()},
		{"engine/nft", with("engine/kernel")},
		{"engine/testenv", nil},
		{"engine/netnstest", with("engine/kernel", "engine/testenv")},
		{"engine/dockerdtest", with("engine/kernel", "engine/netnstest", "engine/testenv", "engine/lab")},
		{"engine/link", with("engine/kernel", "engine/nft")},
		{"engine/peer", with("engine/kernel", "engine/nft")},
		{"engine/esp", with("engine/kernel", "engine/nft")},
		{"engine/bridge", with("engine/kernel", "engine/link", "engine/nft")},
		{"engine/dns", with("engine/kernel", "engine/nft")},
		{"engine/vip", with("engine/kernel", "engine/nft")},
		{"engine/localnet", with("engine/ipam")},
		{"engine/mesh", with("engine/kernel", "engine/link", "engine/nft")},
		{"engine/overlay", with("engine/kernel", "engine/link", "engine/nft", "engine/peer")},
		{"engine/containerd", with()},
		{"engine/runtime", with("engine/kernel", "engine/containerd")},
		{"engine/lab", with("engine/kernel")},
		{"engine/rootless", with("engine/kernel")},
		{"engine/control", with("engine/ipam", "engine/event")},
		{"engine/workload", with("engine/event")},
		{"engine/attachment", with("engine/kernel", "engine/link")},
		{"engine/dockerapi", with("engine/dockerapi", "engine/event")},
		{"engine/weftapi", with("engine/dockerapi")},
		{"engine/", with()},
		{"engine", []string{"engine"}},
	}
}

// guarded are the modules only some packages may import, by the beginning of
// the import path. The lab is among the users of the kernel's modules because
// it builds, and cuts, an underlay of its own that no engine may know of.
func guarded() map[string][]string {
	return map[string][]string{
		"github.com/spf13/cobra":                     {"commands"},
		"github.com/charmbracelet/":                  {"tui"},
		"github.com/vishvananda/netlink":             {"engine/kernel", "engine/link", "engine/peer", "engine/mesh", "engine/esp", "engine/netnstest", "engine/lab", "engine/rootless"},
		"github.com/vishvananda/netns":               {"engine/kernel", "engine/netnstest", "engine/lab"},
		"github.com/google/nftables":                 {"engine/nft", "engine/lab"},
		"github.com/moby/swarmkit":                   {"engine/control"},
		"github.com/docker/docker/daemon":            {"engine/control"},
		"github.com/docker/docker/libnetwork":        {"engine/gossip", "engine/control", "engine/ipam"},
		"github.com/docker/docker/api":               {"engine", "commands"},
		"github.com/docker/docker/client":            {"commands/cmdenv", "commands/image"}, // whose calls take the client's own options
		"github.com/containerd/containerd/v2":        {"engine/image", "engine/runtime", "engine/containerd"},
		"github.com/hashicorp/memberlist":            {"engine/gossip"},
		"github.com/docker/cli/cli/command":          {},
		"github.com/docker/docker/libnetwork/driver": {},
	}
}

// below reports whether a package is prefix or below it; a prefix ending in a
// slash means below only.
func below(pkg, prefix string) bool {
	dir, strict := strings.CutSuffix(prefix, "/")
	return strings.HasPrefix(pkg, dir+"/") || (!strict && pkg == dir)
}

// TestImportDirection holds the tree to the import rules: lower layers do not
// know upper ones, and a dependency is used where it belongs.
func TestImportDirection(t *testing.T) {
	module := moduleName(t)
	for file, parsed := range goFiles(t, parser.ImportsOnly) {
		pkg := path.Dir(file)
		for _, spec := range parsed.Imports {
			name, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if own, ok := strings.CutPrefix(name, module+"/"); ok {
				if !mayImport(pkg, own) {
					t.Errorf("%s: %s must not import %s", file, pkg, own)
				}
				continue
			}
			if users, ok := guards(name); ok && !slices.ContainsFunc(users, func(u string) bool { return below(pkg, u) }) {
				t.Errorf("%s: only %v may import %s", file, users, name)
			}
		}
	}
}

func mayImport(pkg, imported string) bool {
	for _, l := range layers() {
		if below(pkg, l.prefix) {
			return component(imported) == component(pkg) ||
				slices.ContainsFunc(l.may, func(m string) bool { return below(imported, m) })
		}
	}
	return false
}

// component gives the first two elements of a package's path.
func component(pkg string) string {
	parts := strings.SplitN(pkg, "/", 3)
	return strings.Join(parts[:min(len(parts), 2)], "/")
}

// guards gives the packages that may import a guarded one: those of the
// longest entry that covers it.
func guards(name string) (users []string, found bool) {
	longest := ""
	for prefix, list := range guarded() {
		if strings.HasPrefix(name, prefix) && len(prefix) > len(longest) {
			longest, users = prefix, list
		}
	}
	return users, longest != ""
}

// TestPackageDocs wants every package to say what it is.
func TestPackageDocs(t *testing.T) {
	const enough = 40 // characters: more than "Package x does x."
	docs := map[string]string{}
	for file, parsed := range goFiles(t, parser.ParseComments|parser.PackageClauseOnly) {
		pkg := path.Dir(file)
		text := parsed.Doc.Text()
		want := "Package " + parsed.Name.Name + " "
		if parsed.Name.Name == "main" {
			want = "Command "
		}
		if text != "" && !strings.HasPrefix(text, want) {
			t.Errorf("%s: the package comment does not begin with %q", file, want)
		}
		if docs[pkg] != "" && text != "" {
			t.Errorf("%s: a second package comment", file)
		}
		docs[pkg] += text
	}
	for pkg, text := range docs {
		if len(text) < enough {
			t.Errorf("%s has no package comment, or one that says too little", pkg)
		}
	}
}

func moduleName(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(strings.TrimPrefix(first, "module"))
}

// goFiles parses the module's files that are not tests, by their slash path
// from its root.
func goFiles(t *testing.T, mode parser.Mode) map[string]*ast.File {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	err = filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		files[filepath.ToSlash(rel)], err = parser.ParseFile(token.NewFileSet(), name, nil, mode)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
