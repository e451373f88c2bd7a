// Package nodeimage makes the image of kind's nodes where no image registry can be reached, from Debian packages and Go modules: what
// kind's own build takes from releases is compiled here. Everything is kept in a cache and made once.
package nodeimage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/cache"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// Flavour is the container runtime of a node.
type Flavour string

// The flavours: their hosts.toml and configuration files differ.
const (
	// Containerd1 is Debian's containerd 1.6.
	Containerd1 Flavour = "containerd1"
	// Containerd2 is containerd 2, from its module.
	Containerd2 Flavour = "containerd2"
)

// recipe counts changes of this package that make another image of the same parts.
const recipe = 1

// Engine is the Docker engine in which the image is put together.
type Engine interface {
	// Docker runs the docker command against the engine, with c's arguments.
	Docker(ctx context.Context, c command.Command) (string, error)
}

// Builder makes node images.
type Builder struct {
	// Root is the folder of this repository.
	Root   string
	Cache  *cache.Cache
	Engine Engine
	// Jobs is how many packages are compiled at once; 2 when zero.
	Jobs int
}

func (b *Builder) jobs() string { return strconv.Itoa(max(b.Jobs, 2)) }

func arch() string { return runtime.GOARCH }

// parts are what an image is made of, as paths.
type parts struct {
	version, rootfs, images string
	programs, runtime       map[string]string
}

// Build makes sure that the engine has the image of the flavour, and returns its name. It needs root and debootstrap when it has to make
// the image; cold, it takes about 20 minutes of two cores.
func (b *Builder) Build(ctx context.Context, f Flavour) (string, error) {
	key, err := b.key(ctx, f)
	if err != nil {
		return "", err
	}
	image := "dragonfly-e2e/node:" + key
	if _, err := b.docker(ctx, "image", "inspect", image); err == nil {
		return image, nil
	}
	archive, err := b.Cache.Step("node-"+key+".tar", func(path string) error {
		p, err := b.parts(ctx, f)
		if err != nil {
			return err
		}
		if err := b.assemble(ctx, p, image); err != nil {
			return err
		}
		_, err = b.docker(ctx, "save", "-o", path, image)
		return err
	})
	if err != nil {
		return "", err
	}
	_, err = b.docker(ctx, "load", "-i", archive)
	return image, err
}

// Version of Kubernetes in the images, as "v1.2.3".
func (b *Builder) Version(ctx context.Context) (string, error) {
	m, err := findModule(ctx, b.Root, kubernetes)
	return m.version, err
}

func (b *Builder) modules(ctx context.Context, f Flavour) (map[string]module, error) {
	names := []string{kubernetes, etcd, coredns}
	if f == Containerd2 {
		names = append(names, containerd)
	}
	modules := map[string]module{}
	for _, name := range names {
		m, err := findModule(ctx, b.Root, name)
		if err != nil {
			return nil, err
		}
		modules[name] = m
	}
	return modules, nil
}

// key names the image by all that goes into it.
func (b *Builder) key(ctx context.Context, f Flavour) (string, error) {
	modules, err := b.modules(ctx, f)
	if err != nil {
		return "", err
	}
	h := sha256.New()
	fmt.Fprintln(h, recipe, packages(), modules[kubernetes].key, modules[etcd].key, modules[coredns].key, modules[containerd].key)
	return fmt.Sprintf("%s-%s-%s", modules[kubernetes].version, f, hex.EncodeToString(h.Sum(nil))[:8]), nil
}

// parts compiles, debootstraps and packs what is not in the cache.
func (b *Builder) parts(ctx context.Context, f Flavour) (parts, error) {
	modules, err := b.modules(ctx, f)
	if err != nil {
		return parts{}, err
	}
	k8s := modules[kubernetes]
	p := parts{version: k8s.version}
	if p.rootfs, err = b.rootfs(ctx); err != nil {
		return parts{}, err
	}
	const cmd = "k8s.io/kubernetes/cmd/"
	if p.programs, err = b.programs(ctx, k8s, cmd+"kubeadm", cmd+"kubelet", cmd+"kubectl"); err != nil {
		return parts{}, err
	}
	if f == Containerd2 {
		const cmd = "github.com/containerd/containerd/v2/cmd/"
		if p.runtime, err = b.programs(ctx, modules[containerd], cmd+"containerd", cmd+"ctr", cmd+"containerd-shim-runc-v2"); err != nil {
			return parts{}, err
		}
	}
	p.images, err = b.Cache.Step("images-"+k8s.key+".tar", func(path string) error {
		inImages, err := b.inImages(ctx, modules)
		if err != nil {
			return err
		}
		return images(ctx, p.programs["kubeadm"], k8s.version, p.rootfs, inImages, path)
	})
	return p, err
}

// inImages are the programs that run as containers.
func (b *Builder) inImages(ctx context.Context, modules map[string]module) (map[string]string, error) {
	const cmd = "k8s.io/kubernetes/cmd/"
	all, err := b.programs(ctx, modules[kubernetes], cmd+"kube-apiserver", cmd+"kube-controller-manager", cmd+"kube-scheduler", cmd+"kube-proxy")
	if err != nil {
		return nil, err
	}
	pause := module{name: "pause", dir: filepath.Join(b.Root, "tests/e2e/kind/nodeimage/pause"), key: "own-" + strconv.Itoa(recipe)}
	for _, m := range []module{modules[etcd], modules[coredns], pause} {
		if all[m.name], err = b.program(ctx, m, "."); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// assemble makes the image in the engine.
func (b *Builder) assemble(ctx context.Context, p parts, image string) (err error) {
	names, err := imageNames(ctx, p.programs["kubeadm"], p.version)
	if err != nil {
		return err
	}
	kind := command.New("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind")
	kind.Dir = b.Root
	kindDir, err := kind.Run(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(b.Cache.Path(""), "node-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	l := layout{
		root: filepath.Join(dir, "root"), files: filepath.Join(kindDir, "images/base/files"), version: p.version, pause: names["pause"],
	}
	if err := os.Mkdir(l.root, 0o755); err != nil {
		return err
	}
	if err := unpack(ctx, p.rootfs, l.root); err != nil {
		return err
	}
	if err := l.apply(ctx, p.programs, p.runtime); err != nil {
		return err
	}
	tar := filepath.Join(dir, "root.tar")
	if err := pack(ctx, l.root, tar); err != nil {
		return err
	}
	return b.commit(ctx, tar, p.images, image)
}
