package main_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/engine/testenv"
)

// nginxArchive is a root file system of Debian's nginx and the libraries it
// needs, as a tar archive.
func nginxArchive(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o755)) // apt has a user of its own
	try := func(name string, args ...string) (string, error) {
		var out bytes.Buffer
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &out, &out
		err := cmd.Run()
		return out.String(), err
	}
	command := func(name string, args ...string) string {
		out, err := try(name, args...)
		if err != nil {
			testenv.Lacks(t, "Debian's packages: %s: %v\n%s", name, err, out)
		}
		return out
	}
	if _, err := try("apt-get", "download", "nginx"); err != nil { // it may know no package yet
		command("apt-get", "update", "-q")
	}
	command("apt-get", "download", "nginx", "nginx-common", "libc6", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g")
	debs, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	must(t, err)
	root := filepath.Join(dir, "root")
	for _, deb := range debs {
		command("dpkg-deb", "-x", deb, root)
	}
	for name, text := range map[string]string{
		"etc/passwd":              "root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n",
		"etc/group":               "root:x:0:\nwww-data:x:33:\n",
		"etc/nginx/nginx.conf":    "user www-data;\nworker_processes 1;\nerror_log /dev/stderr;\nevents {}\nhttp { access_log /dev/stdout; server { listen 80; root /usr/share/nginx/html; } }\n",
		"run/.keep":               "",
		"var/log/nginx/.keep":     "",
		"var/lib/nginx/body/keep": "",
	} {
		path := filepath.Join(root, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(t, os.WriteFile(path, []byte(text), 0o644))
	}
	command("tar", "-C", root, "-cf", "nginx.tar", ".")
	return filepath.Join(dir, "nginx.tar")
}

// TestNginx runs a server people have: with a terminal, as a service, and
// published on a host.
func TestNginx(t *testing.T) {
	t.Parallel()
	_, nodes := testLab(t, 2)
	nginx(t, nodes)
}

// TestNginxOnContainerd is the same by the hosts' containerd.
func TestNginxOnContainerd(t *testing.T) {
	_, nodes := bootLab(t, 2, containerdBoot(t))
	if got := nodes[0].weft(t, "info", "--format", "{{.DefaultRuntime}}"); got != "io.containerd.runc.v2" {
		t.Fatalf("containers run by %s", got)
	}
	nginx(t, nodes)
}

// nginx is the test of the nodes' engines, whatever their runtimes.
func nginx(t *testing.T, nodes []node) {
	swarm(t, nodes)
	one, two := nodes[0], nodes[1]
	archive, busybox := nginxArchive(t), busyboxArchive(t)
	for _, n := range nodes {
		n.does(t, "import", "-c", `CMD ["nginx","-g","daemon off;"]`, "-c", "EXPOSE 80", "-c", "STOPSIGNAL QUIT", archive, "nginx")
		n.does(t, "import", "-c", `CMD ["sleep","1000"]`, "-c", "STOPSIGNAL KILL", busybox, "busybox")
	}
	if got := one.does(t, "run", "--rm", "-t", "nginx", "nginx", "-v"); !strings.HasPrefix(got, "nginx version: nginx/") {
		t.Errorf("in a terminal: %q", got)
	}
	one.does(t, "run", "-d", "--name", "site", "-P", "nginx")
	port := one.does(t, "port", "site", "80")
	_, port, _ = strings.Cut(strings.Fields(port)[0], ":")
	page := []string{"timeout", "5", "wget", "-qO-"}
	get := func(n node, network, url string) result {
		return n.docker(t, append(append([]string{"run", "--rm", "--network", network, "busybox"}, page...), url)...)
	}
	await(t, 10*time.Second, func() (bool, string) {
		r := get(two, "host", "http://"+one.addr()+":"+port+"/")
		return strings.Contains(r.out, "Welcome to nginx!"), r.String()
	})
	if got := one.does(t, "logs", "site"); !strings.Contains(got, "GET / HTTP/1.1") {
		t.Errorf("logs: %q", got)
	}
	one.does(t, "stop", "site")
	if got := one.does(t, "inspect", "-f", "{{.State.ExitCode}}", "site"); got != "0" {
		t.Errorf("after its own stop signal it ended with %s", got)
	}
	one.does(t, "rm", "site")

	one.weft(t, "network", "create", "-d", "overlay", "--attachable", "ov")
	one.weft(t, "service", "create", "--detach", "--name", "web", "--network", "ov", "--replicas", "2", "nginx")
	awaitReplicas(t, one, "web", "2/2")
	for _, n := range nodes {
		for _, name := range []string{"web", "tasks.web"} {
			await(t, 10*time.Second, func() (bool, string) {
				r := get(n, "ov", "http://"+name+"/")
				return strings.Contains(r.out, "Welcome to nginx!"), r.String()
			})
		}
	}
	one.weft(t, "service", "rm", "web")
}
