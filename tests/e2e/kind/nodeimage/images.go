package nodeimage

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// component is a control-plane image: one static program, on nothing or on the root filesystem of a node.
type component struct {
	// image is what its name ends with, before the tag.
	image   string
	program string
	// at is the path of the program in the image: manifests of kubeadm call some by path, some by name.
	at         string
	entrypoint bool
	onRootfs   bool // for iptables
}

func components() []component {
	return []component{
		{image: "kube-apiserver", program: "kube-apiserver", at: "/usr/local/bin/kube-apiserver"},
		{image: "kube-controller-manager", program: "kube-controller-manager", at: "/usr/local/bin/kube-controller-manager"},
		{image: "kube-scheduler", program: "kube-scheduler", at: "/usr/local/bin/kube-scheduler"},
		{image: "kube-proxy", program: "kube-proxy", at: "/usr/local/bin/kube-proxy", onRootfs: true},
		{image: "etcd", program: "etcd", at: "/usr/local/bin/etcd"},
		{image: "coredns", program: "coredns", at: "/coredns", entrypoint: true},
		{image: "pause", program: "pause", at: "/pause", entrypoint: true},
	}
}

// images writes a Docker archive of all control-plane images to a file, named as kubeadm wants them.
func images(ctx context.Context, kubeadm, version, rootfs string, programs map[string]string, file string) (err error) {
	list, err := imageNames(ctx, kubeadm, version)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Dir(file), "images-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	archive := map[name.Tag]v1.Image{}
	for _, c := range components() {
		tag, err := name.NewTag(list[c.image])
		if err != nil {
			return fmt.Errorf("kubeadm names no image for %s: %w", c.image, err)
		}
		layers := []string{filepath.Join(dir, c.program+".tar")}
		if err := programLayer(programs[c.program], c.at, layers[0]); err != nil {
			return err
		}
		if c.onRootfs {
			layers = append([]string{rootfs}, layers...)
		}
		config := v1.Config{Env: []string{searchPath}}
		if c.entrypoint {
			config.Entrypoint = []string{c.at}
		}
		if archive[tag], err = image(layers, config); err != nil {
			return fmt.Errorf("make image %s: %w", tag, err)
		}
	}
	return tarball.MultiWriteToFile(file, archive)
}

// imageNames are the images that kubeadm wants, by the last element of their path.
func imageNames(ctx context.Context, kubeadm, version string) (map[string]string, error) {
	out, err := command.New(kubeadm, "config", "images", "list", "--kubernetes-version", version).Run(ctx)
	if err != nil {
		return nil, err
	}
	names := map[string]string{}
	for line := range strings.Lines(out) {
		ref := strings.TrimSpace(line)
		repository, _, _ := strings.Cut(ref, ":")
		names[repository[strings.LastIndexByte(repository, '/')+1:]] = ref
	}
	return names, nil
}

// searchPath is where programs of an image are looked for.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// image has tar files as layers.
func image(tars []string, config v1.Config) (v1.Image, error) {
	img := empty.Image
	for _, file := range tars {
		layer, err := tarball.LayerFromFile(file, tarball.WithCompressionLevel(gzip.BestSpeed))
		if err != nil {
			return nil, err
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			return nil, err
		}
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	cfg = cfg.DeepCopy()
	cfg.OS, cfg.Architecture, cfg.Config = "linux", arch(), config
	return mutate.ConfigFile(img, cfg)
}

// programLayer writes a tar with the program at one path.
func programLayer(program, at, file string) (err error) {
	src, err := os.Open(program)
	if err != nil {
		return err
	}
	defer src.Close()
	info, err := src.Stat()
	if err != nil {
		return err
	}
	dst, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dst.Close()) }()
	buffered := bufio.NewWriter(dst)
	w := tar.NewWriter(buffered)
	header := &tar.Header{Name: strings.TrimPrefix(at, "/"), Mode: 0o755, Size: info.Size(), Typeflag: tar.TypeReg}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	if _, err := io.Copy(w, src); err != nil {
		return err
	}
	return errors.Join(w.Close(), buffered.Flush())
}
