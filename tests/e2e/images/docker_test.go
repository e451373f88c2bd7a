//go:build e2e

package images

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/dragonfly-kube/dragonfly/tests/process"
)

// engine is a Docker engine with everything of its own: data, sockets, containerd, and a network namespace for its bridge.
type engine struct {
	*process.Process
	namespace string
	host      string // for DOCKER_HOST
	src       string // a checkout
}

func TestDockerBuildsTheSameAndRunsThem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("a Docker engine needs root: run this as root")
	}
	for _, program := range []string{"docker", "dockerd", "ip", "nsenter", "make", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: apt-get install docker.io iproute2 make git", program)
		}
	}
	e := startEngine(t)
	e.src = checkout(t, filepath.Join(t.TempDir(), "src"))
	makeImages(t, e.src, "images-oci", hostPlatform)
	makeImages(t, e.src, "images", hostPlatform, "DOCKER_HOST="+e.host, "DOCKER_BUILDKIT=0")
	for name := range maxSize {
		t.Run("the same "+name, func(t *testing.T) { e.compare(t, name) })
	}
	t.Run("the supernode serves", e.supernode)
	t.Run("the supernode without a secret says what is missing", e.noSecret)
	t.Run("the nodes' programs run, from the archive that Go made", e.programs)
}

// startEngine starts an engine in a network namespace of its own, so that its bridge and its rules are not the machine's.
func startEngine(t *testing.T) *engine {
	t.Helper()
	dir, err := os.MkdirTemp("", "df-img-") //nolint:usetesting // t.TempDir is too long a path for the engine's sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e := &engine{namespace: fmt.Sprintf("df-images-%d", os.Getpid()), host: "unix://" + filepath.Join(dir, "docker.sock")}
	run(t, "", nil, "ip", "netns", "add", e.namespace)
	t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", e.namespace).Run() })
	run(t, "", nil, "ip", "-n", e.namespace, "link", "set", "lo", "up")
	logs := os.Getenv("E2E_LOGS")
	if logs == "" {
		logs = dir
	} else if err := os.MkdirAll(logs, 0o755); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e.Process, err = process.Start(process.Spec{
		Name: "dockerd", Program: "nsenter", Log: filepath.Join(logs, "docker-images.log"), Unset: []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"},
		Args: []string{
			"--net=/run/netns/" + e.namespace, "dockerd", "--config-file", config, "--data-root", filepath.Join(dir, "data"),
			"--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"), "-H", e.host,
		},
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	if err := e.ReadyWhen(t.Context(), func(ctx context.Context) bool {
		return exec.CommandContext(ctx, "docker", "-H", e.host, "version").Run() == nil
	}); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *engine) docker(t *testing.T, args ...string) string {
	t.Helper()
	return run(t, "", nil, "docker", append([]string{"-H", e.host}, args...)...)
}

func ref(name string) string { return registry + "/" + name + ":" + testTag }

// compare fails the test where Docker's image differs from Go's in anything but times and layers.
func (e *engine) compare(t *testing.T, name string) {
	saved := filepath.Join(t.TempDir(), "saved.tar")
	e.docker(t, "save", "-o", saved, ref(name))
	byDocker, err := tarball.ImageFromPath(saved, nil)
	if err != nil {
		t.Fatal(err)
	}
	byGo, err := tarball.ImageFromPath(filepath.Join(e.src, "dist", "images", name+"-"+hostFolder+".tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files(t, byDocker), files(t, byGo)); diff != "" {
		t.Errorf("files (-Docker +Go):\n%s", diff)
	}
	if diff := cmp.Diff(settings(t, byDocker), settings(t, byGo)); diff != "" {
		t.Errorf("configuration (-Docker +Go):\n%s", diff)
	}
}

// files tells kind, mode, owner and content of every path.
func files(t *testing.T, img v1.Image) map[string]string {
	t.Helper()
	all := map[string]string{}
	rc := mutate.Extract(img)
	defer rc.Close()
	for r := tar.NewReader(rc); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			t.Fatal(err)
		}
		all["/"+strings.Trim(h.Name, "/")] = fmt.Sprintf("%c %o %d:%d %s%d %x", h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.Linkname, h.Size, sum.Sum(nil))
	}
	if len(all) < 10 {
		t.Fatalf("got only the files %v", all)
	}
	return all
}

// settings are the parts of the configuration that a Dockerfile decides.
func settings(t *testing.T, img v1.Image) map[string]any {
	t.Helper()
	f, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"platform": f.OS + "/" + f.Architecture, "user": f.Config.User, "env": f.Config.Env, "labels": f.Config.Labels,
		"entrypoint": f.Config.Entrypoint, "cmd": len(f.Config.Cmd), "ports": f.Config.ExposedPorts, "volumes": len(f.Config.Volumes),
		"workdir": f.Config.WorkingDir,
	}
}
