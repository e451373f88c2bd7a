package nodeimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Modules that the programs of a node come from.
const (
	kubernetes = "kubernetes"
	etcd       = "etcd"
	coredns    = "coredns"
	containerd = "containerd"
)

// folders of this repository with their go.mod files.
func folders() map[string]string {
	return map[string]string{
		kubernetes: "tests/tools/node/kubernetes", etcd: "tests/tools/node/etcd", coredns: "tests/tools/node/coredns",
		containerd: "tests/tools/containerd",
	}
}

// module is one of them at a version.
type module struct {
	name, dir string
	// path and version of the upstream module, as k8s.io/kubernetes and v1.34.4.
	path, version string
	// key changes with everything that its programs are made of.
	key string
}

// upstream is the module whose version counts.
func upstream(name string) string {
	return map[string]string{
		kubernetes: "k8s.io/kubernetes", etcd: "go.etcd.io/etcd/server/v3",
		coredns: "github.com/coredns/coredns", containerd: "github.com/containerd/containerd/v2",
	}[name]
}

func findModule(ctx context.Context, root, name string) (module, error) {
	m := module{name: name, dir: filepath.Join(root, folders()[name]), path: upstream(name)}
	list := command.New("go", "list", "-m", "-f", "{{.Version}}", m.path)
	list.Dir = m.dir
	var err error
	if m.version, err = list.Run(ctx); err != nil {
		return module{}, fmt.Errorf("find the version of %s: %w", name, err)
	}
	goVersion, err := command.New("go", "env", "GOVERSION", "GOARCH").Run(ctx)
	if err != nil {
		return module{}, err
	}
	h := sha256.New()
	fmt.Fprintln(h, goVersion)
	for _, file := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(filepath.Join(m.dir, file))
		if err != nil {
			return module{}, fmt.Errorf("find the version of %s: %w", name, err)
		}
		h.Write(b)
	}
	m.key = fmt.Sprintf("%s-%s-%s", name, m.version, hex.EncodeToString(h.Sum(nil))[:8])
	return m, nil
}

// ldflags sets the version that programs of Kubernetes check against each other: kubeadm refuses to work without one.
func (m module) ldflags() string {
	flags := "-s -w"
	if m.name != kubernetes {
		return flags
	}
	const variable = "k8s.io/component-base/version."
	parts := strings.SplitN(strings.TrimPrefix(m.version, "v"), ".", 3)
	return fmt.Sprintf("%s -X %[2]sgitVersion=%[3]s -X %[2]sgitMajor=%[4]s -X %[2]sgitMinor=%[5]s", flags, variable, m.version, parts[0], parts[1])
}

// buildLimit is for one program, all of its packages compiled on two slow, busy cores.
const buildLimit = time.Hour

// program builds pkg into the cache, static, and returns its path.
func (b *Builder) program(ctx context.Context, m module, pkg string) (string, error) {
	name := filepath.Base(pkg)
	if pkg == "." {
		name = m.name
	}
	return b.Cache.Step(filepath.Join("programs", m.key, name), func(path string) error {
		build := command.New("go", "build", "-p", b.jobs(), "-trimpath", "-buildvcs=false", "-ldflags", m.ldflags(), "-o", path, pkg)
		build.Dir, build.Env, build.Limit = m.dir, []string{"CGO_ENABLED=0", "GOFLAGS="}, buildLimit
		_, err := build.Run(ctx)
		return err
	})
}

func (b *Builder) programs(ctx context.Context, m module, pkgs ...string) (map[string]string, error) {
	paths := map[string]string{}
	for _, pkg := range pkgs {
		path, err := b.program(ctx, m, pkg)
		if err != nil {
			return nil, err
		}
		paths[filepath.Base(path)] = path
	}
	return paths, nil
}
