//go:build e2e

package clients

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/process"
)

// proxies are variables that would lead an engine past the registry under test.
var proxies = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"}

// run starts a process and stops it when the test ends.
func run(t *testing.T, s process.Spec) *process.Process {
	t.Helper()
	p, err := process.Start(s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

// command runs a command to its end and returns its standard output. It fails the test with what the command said.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// docker is a Docker engine with everything of its own: data, sockets, containerd. It pulls and unpacks; it runs no containers, so
// it needs no network and no further privileges.
type docker struct{ socket string }

// startDocker starts an engine whose images of Docker Hub come from mirror ("ip:port"), or from nowhere when mirror is "".
func startDocker(t *testing.T, name, dir, logs, mirror string) docker {
	t.Helper()
	own := filepath.Join(dir, name)
	d := docker{socket: "unix://" + filepath.Join(own, "docker.sock")}
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(own, "daemon.json")
	settings := "{}"
	if mirror != "" {
		settings = fmt.Sprintf(`{"registry-mirrors": ["http://%s"]}`, mirror)
	}
	if err := os.WriteFile(config, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	p := run(t, process.Spec{
		Name: name, Program: "dockerd", Log: filepath.Join(logs, name+".log"), Unset: proxies,
		Args: []string{
			"--config-file", config, "--data-root", filepath.Join(own, "data"), "--exec-root", filepath.Join(own, "exec"),
			"--pidfile", filepath.Join(own, "pid"), "-H", d.socket, "--bridge=none", "--iptables=false",
		},
	})
	err := p.ReadyWhen(t.Context(), func(ctx context.Context) bool {
		return exec.CommandContext(ctx, "docker", "-H", d.socket, "version").Run() == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// pull returns the digest of the image's manifest, as the engine verified it.
func (d docker) pull(t *testing.T, image string) string {
	t.Helper()
	command(t, "docker", "-H", d.socket, "pull", "--quiet", image)
	digests := command(t, "docker", "-H", d.socket, "image", "inspect", "--format", "{{index .RepoDigests 0}}", image)
	_, digest, _ := strings.Cut(strings.TrimSpace(digests), "@")
	return digest
}

// containerd is a containerd with everything of its own.
type containerd struct {
	socket      string
	hosts       string // folder with a hosts.toml for each registry
	snapshotter string
}

// startContainerd starts a containerd. registry ("ip:port") is reached directly over plain HTTP when mirror is "", else through
// mirror, by a hosts directory as nodes of Kubernetes have it.
func startContainerd(t *testing.T, name, dir, logs, registry, mirror string) containerd {
	t.Helper()
	own := filepath.Join(dir, name)
	c := containerd{socket: filepath.Join(own, "containerd.sock"), hosts: filepath.Join(own, "hosts")}
	if err := os.MkdirAll(filepath.Join(c.hosts, registry), 0o755); err != nil {
		t.Fatal(err)
	}
	hosts := fmt.Sprintf("server = \"http://%s\"\n", registry)
	if mirror != "" {
		// A server that is not there: containerd can't go past the mirror without our noticing.
		hosts = fmt.Sprintf("server = \"http://127.0.0.1:1\"\n\n[host.\"http://%s\"]\n  capabilities = [\"pull\", \"resolve\"]\n", mirror)
	}
	config := fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\n  address = %q\n"+
		"[plugins.\"io.containerd.internal.v1.opt\"]\n  path = %q\n",
		filepath.Join(own, "root"), filepath.Join(own, "state"), c.socket, filepath.Join(own, "opt"))
	for path, content := range map[string]string{
		filepath.Join(c.hosts, registry, "hosts.toml"): hosts,
		filepath.Join(own, "config.toml"):              config,
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := run(t, process.Spec{
		Name: name, Program: "containerd", Args: []string{"--config", filepath.Join(own, "config.toml")},
		Log: filepath.Join(logs, name+".log"), Unset: proxies,
	})
	err := p.ReadyWhen(t.Context(), func(ctx context.Context) bool {
		return exec.CommandContext(ctx, "ctr", "-a", c.socket, "version").Run() == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c.snapshotter = "native" // copies all below for each layer, but works on every file system
	for line := range strings.Lines(command(t, "ctr", "-a", c.socket, "plugins", "ls")) {
		if f := strings.Fields(line); len(f) > 2 && f[1] == "overlayfs" && f[len(f)-1] == "ok" {
			c.snapshotter = "overlayfs"
		}
	}
	return c
}

// pull returns the digest of the image's manifest.
func (c containerd) pull(t *testing.T, image string) string {
	t.Helper()
	command(t, "ctr", "-a", c.socket, "images", "pull", "--snapshotter", c.snapshotter, "--hosts-dir", c.hosts, image)
	for line := range strings.Lines(command(t, "ctr", "-a", c.socket, "images", "ls")) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == image {
			return f[2]
		}
	}
	return ""
}

// skopeo copies an image from a registry or mirror over plain HTTP into a folder and returns the folder.
func skopeo(t *testing.T, image string) string {
	t.Helper()
	dir := t.TempDir()
	command(t, "skopeo", "copy", "--quiet", "--src-tls-verify=false", "docker://"+image, "dir:"+dir)
	return dir
}
