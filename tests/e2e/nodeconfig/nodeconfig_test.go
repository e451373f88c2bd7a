//go:build e2e

// Package nodeconfig has the real container runtimes as judges of what dfctl node-config writes: they start with it and pull through
// dfdaemon, and a rollback leaves nothing. It needs root, the Debian packages docker.io, containerd, docker-registry and skopeo, the
// programs in bin/, and containerd 2 and cripull in bin/tools/ (see `make e2e-node-config`).
package nodeconfig

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/dragonfly-kube/dragonfly/tests/cluster"
	"github.com/dragonfly-kube/dragonfly/tests/process"
)

const (
	registryAddr = "127.0.0.60" // port 80: CRI-O, Podman and skopeo take no port in the path of a mirror
	firstAddress = 61           // of the supernode; the dfdaemons have the next ones
	image        = registryAddr + "/library/app:1"
	layerSize    = 1 << 20
	layers       = 3
)

func bin() string   { return absolute("../../../bin") }
func tools() string { return absolute("../../../bin/tools") }

func absolute(dir string) string {
	full, err := filepath.Abs(dir)
	if err != nil {
		panic(err) // there is no working directory
	}
	return full
}

func sorted(lines []string) []string { return slices.Sorted(slices.Values(lines)) }

// env is what all runtimes share.
type env struct {
	dir, logs string
	digest    v1.Hash
	nodes     []cluster.Node // one for each runtime
}

func TestRuntimesPullThroughDragonfly(t *testing.T) {
	e := setUp(t)
	for i, r := range []struct {
		name string
		pull func(t *testing.T, n cluster.Node)
	}{
		{"docker", e.docker},
		{"docker-drop-in", e.dockerDropIn},
		{"containerd-1", e.containerd1},
		{"containerd-2", e.containerd2},
		{"containerd-2-drop-in", e.containerd2DropIn},
		{"skopeo", e.skopeo},
	} {
		t.Run(r.name, func(t *testing.T) { r.pull(t, e.nodes[i]) })
	}
}

// setUp checks what the test needs, starts a registry and Dragonfly, and pushes an image.
func setUp(t *testing.T) *env {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("container engines and mounts need root: run this as root")
	}
	for _, program := range []string{"docker", "dockerd", "containerd", "docker-registry", "skopeo", "unshare", filepath.Join(tools(), "containerd"), filepath.Join(tools(), "cripull")} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: run .ci/packages and make e2e-node-config", program)
		}
	}
	dir, err := os.MkdirTemp("", "df-node-") //nolint:usetesting // t.TempDir is too long a path for the engines' sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e := &env{dir: dir, logs: os.Getenv("E2E_LOGS")}
	if e.logs == "" {
		e.logs = filepath.Join(dir, "logs")
	}
	e.logs = filepath.Join(e.logs, "node-config")
	mkdir(t, e.logs)
	startRegistry(t, dir, e.logs)
	e.digest = push(t)
	plan := cluster.NewPlan(t.Context(), firstAddress, 6, dir)
	if err := plan.CheckFree(t.Context()); err != nil {
		t.Fatal(err)
	}
	c, err := cluster.Start(t.Context(), cluster.Config{Plan: plan, Bin: bin(), Dir: dir, Logs: e.logs, Registry: "http://" + registryAddr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	e.nodes = plan.Nodes
	return e
}

// startRegistry starts Debian's docker-registry.
func startRegistry(t *testing.T, dir, logs string) {
	t.Helper()
	config := filepath.Join(dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %q}\nhttp: {addr: \"%s:80\"}\n",
		filepath.Join(dir, "registry"), registryAddr)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := process.Start(process.Spec{
		Name: "docker-registry", Program: "docker-registry", Args: []string{"serve", config}, Log: filepath.Join(logs, "registry.log"),
		Unset: []string{"REGISTRY_", "OTEL_"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	if err := p.Ready(t.Context(), "http://"+registryAddr+"/v2/"); err != nil {
		t.Fatal(err)
	}
}

// push pushes an image of random content and returns its digest.
func push(t *testing.T) v1.Hash {
	t.Helper()
	img, err := random.Image(layerSize, layers)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.Architecture, config.OS = runtime.GOARCH, "linux"
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(image, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// through configures a host for a node's dfdaemon, pulls, and rolls back.
func (e *env) through(t *testing.T, h host, n cluster.Node, args []string, pull func(t *testing.T) string) {
	t.Helper()
	before := h.copied(t)
	t.Logf("%s", h.dfctl(t, append([]string{"apply", "--mirror", "http://" + n.Mirror}, args...)...))
	t.Run("pull", func(t *testing.T) {
		if got := pull(t); !strings.Contains(got, e.digest.String()) {
			t.Errorf("got the image %s, want %s", got, e.digest)
		}
	})
	s, err := n.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Received.FromSeed + s.Received.FromPeers + s.Received.FromOrigin; got < layers*layerSize {
		t.Errorf("%d bytes went by dfdaemon, want all of the image's, %d and more", got, layers*layerSize)
	}
	h.dfctl(t, append([]string{"verify", "--mirror", "http://" + n.Mirror}, args...)...)
	h.dfctl(t, "rollback")
	h.same(t, before)
}

func (e *env) host(t *testing.T, files map[string]string) host {
	t.Helper()
	dir, err := os.MkdirTemp(e.dir, "h") //nolint:usetesting // short, for sockets
	if err != nil {
		t.Fatal(err)
	}
	return newHost(t, dir, files)
}

const daemonJSON = "{\n  \"max-concurrent-downloads\": 5,\n  \"bridge\": \"none\",\n  \"iptables\": false\n}\n"

func (e *env) docker(t *testing.T, n cluster.Node) {
	h := e.host(t, map[string]string{"/etc/docker/daemon.json": daemonJSON})
	e.through(t, h, n, []string{"--runtime", "docker"}, func(t *testing.T) string {
		t.Helper()
		if strings.Contains(h.run(t, "dockerd", "--help"), "--validate") {
			h.run(t, "dockerd", "--validate")
		}
		return e.dockerPull(t, h, "dockerd")
	})
}

// dockerDropIn starts dockerd by the command that systemd would find in the drop-in.
func (e *env) dockerDropIn(t *testing.T, n cluster.Node) {
	h := e.host(t, map[string]string{
		"/etc/docker/daemon.json":            daemonJSON,
		"/etc/systemd/system/docker.service": "[Service]\nExecStart=/usr/sbin/dockerd --max-concurrent-uploads 3\n",
	})
	e.through(t, h, n, []string{"--runtime", "docker", "--docker-method", "drop-in"}, func(t *testing.T) string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(h.root, "/etc/systemd/system/docker.service.d/zz-dragonfly.conf"))
		if err != nil {
			t.Fatal(err)
		}
		commands := strings.Split(strings.TrimSpace(string(text)), "ExecStart=")
		return e.dockerPull(t, h, strings.Fields(commands[len(commands)-1])...)
	})
}

// dockerPull starts an engine in a host and pulls an image of Docker Hub.
func (e *env) dockerPull(t *testing.T, h host, dockerd ...string) string {
	t.Helper()
	socket := "unix://" + filepath.Join(h.work, "run/docker.sock")
	p := h.start(t, strings.ReplaceAll(filepath.Base(filepath.Dir(h.root)), "/", "-")+"-dockerd", e.logs, dockerd...)
	err := p.ReadyWhen(t.Context(), func(ctx context.Context) bool {
		return exec.CommandContext(ctx, "docker", "-H", socket, "version").Run() == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	command(t, "docker", "-H", socket, "pull", "--quiet", "app:1")
	return command(t, "docker", "-H", socket, "image", "inspect", "--format", "{{index .RepoDigests 0}}", "app:1")
}

// containerd1 is Debian's, with a configuration of version 2 that has none for registries.
func (e *env) containerd1(t *testing.T, n cluster.Node) {
	h := e.host(t, map[string]string{"/etc/containerd/config.toml": "version = 2\noom_score = -1\n"})
	e.through(t, h, n, []string{"--runtime", "containerd"}, func(t *testing.T) string { t.Helper(); return e.criPull(t, h, "containerd") })
}

// containerd2 has the configuration that it writes itself, of the latest version, and a hosts.toml that leads nowhere.
func (e *env) containerd2(t *testing.T, n cluster.Node) {
	h := e.host(t, map[string]string{
		"/etc/containerd/certs.d/" + registryAddr + "/hosts.toml": "server = \"http://127.0.0.1:1\"\n\n[host.\"http://127.0.0.1:2\"]\n",
	})
	h.put(t, "/etc/containerd/config.toml", h.run(t, "/mnt/containerd", "config", "default"))
	e.through(t, h, n, []string{"--runtime", "containerd"}, func(t *testing.T) string { t.Helper(); return e.criPull(t, h, "/mnt/containerd") })
}

// containerd2DropIn has a configuration that imports others.
func (e *env) containerd2DropIn(t *testing.T, n cluster.Node) {
	h := e.host(t, map[string]string{"/etc/containerd/config.toml": "version = 3\nimports = ['/etc/containerd/conf.d/*.toml']\n"})
	e.through(t, h, n, []string{"--runtime", "containerd"}, func(t *testing.T) string { t.Helper(); return e.criPull(t, h, "/mnt/containerd") })
}

// criPull starts a containerd in a host and pulls as kubelet does.
func (e *env) criPull(t *testing.T, h host, program string) string {
	t.Helper()
	socket := filepath.Join(h.work, "run/containerd/containerd.sock")
	p := h.start(t, filepath.Base(filepath.Dir(h.root))+"-containerd", e.logs, program)
	err := p.ReadyWhen(t.Context(), func(context.Context) bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return command(t, filepath.Join(tools(), "cripull"), socket, image)
}

// skopeo reads the registries of CRI-O and Podman by the library that they use.
func (e *env) skopeo(t *testing.T, n cluster.Node) {
	h := e.host(t, map[string]string{
		"/etc/containers/policy.json":     `{"default": [{"type": "insecureAcceptAnything"}]}`,
		"/etc/containers/registries.conf": "[[registry]]\nprefix = \"" + registryAddr + "\"\nlocation = \"" + registryAddr + "\"\ninsecure = true\n\n[[registry]]\nlocation = \"harbor.example:5000\"\n",
	})
	e.through(t, h, n, []string{"--runtime", "podman"}, func(t *testing.T) string {
		t.Helper()
		h.run(t, "skopeo", "copy", "--quiet", "--remove-signatures", "docker://"+image, "dir:/tmp/image")
		return "sha256:" + strings.Fields(command(t, "sha256sum", filepath.Join(h.work, "tmp/image/manifest.json")))[0]
	})
}
