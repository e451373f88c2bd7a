package nodeimage

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

// layout is a node's root filesystem under a folder, after debootstrap: the steps that kind's images/base/Dockerfile and its node image
// build take.
type layout struct {
	root string
	// files is the folder images/base/files of kind's module.
	files string
	// version of Kubernetes; pause is the sandbox image.
	version, pause string
}

// apply does everything but the container images. programs are those of Kubernetes. runtime holds those of containerd, none for
// Debian's.
func (l layout) apply(ctx context.Context, programs, runtime map[string]string) error {
	steps := []func() error{
		l.kindFiles,
		l.services,
		func() error { return install(programs, l.path("usr/bin")) },
		func() error { return l.runtime(runtime) },
		l.plugins,
		func() error { return l.write("kind/version", l.version) },
		func() error { return l.write("kind/manifests/default-storage.yaml", storageClass) },
		l.containerdConfig,
		func() error { return l.baseSpec(ctx) },
		func() error { return os.MkdirAll(l.path("etc/kubernetes/manifests"), 0o755) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("lay out the node: %w", err)
		}
	}
	return nil
}

// storageClass is what kind wants to apply. Nothing here provisions volumes.
const storageClass = `apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata:
  name: standard
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
`

func (l layout) path(name string) string { return filepath.Join(l.root, filepath.FromSlash(name)) }

func (l layout) write(name, content string) error {
	if err := os.MkdirAll(filepath.Dir(l.path(name)), 0o755); err != nil {
		return err
	}
	return os.WriteFile(l.path(name), []byte(content), 0o644)
}

// kindFiles copies kind's files over those of the packages. In the module cache nothing is executable.
func (l layout) kindFiles() error {
	return filepath.WalkDir(l.files, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(l.files, file)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if err := l.write(name, string(b)); err != nil {
			return err
		}
		if filepath.Base(filepath.Dir(name)) == "bin" {
			return os.Chmod(l.path(name), 0o755)
		}
		return nil
	})
}

// services leaves systemd with nothing but a node's services.
func (l layout) services() error {
	for _, unwanted := range []string{
		"lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service", "lib/systemd/system/multi-user.target.wants/*",
		"etc/systemd/system/*.wants/*", "lib/systemd/system/local-fs.target.wants/*", "lib/systemd/system/sockets.target.wants/*udev*",
		"lib/systemd/system/sockets.target.wants/*initctl*", "lib/systemd/system/basic.target.wants/*",
	} {
		files, err := filepath.Glob(l.path(unwanted))
		if err != nil {
			return err
		}
		for _, file := range files {
			if err := os.Remove(file); err != nil {
				return err
			}
		}
	}
	const units = "/etc/systemd/system"
	links := map[string]string{
		"sbin/init": "/usr/lib/systemd/systemd",
		// binfmt_misc belongs to the kernel, that is to all.
		path.Join(units, "systemd-binfmt.service"): "/dev/null",
	}
	for _, unit := range []string{"kubelet.service", "containerd.service", "undo-mount-hacks.service"} {
		links[path.Join(units, "multi-user.target.wants", unit)] = path.Join(units, unit)
	}
	if err := l.link(links); err != nil {
		return err
	}
	return l.write("etc/systemd/journald.conf.d/kind.conf", "[Journal]\nReadKMsg=no\n")
}

// link makes symbolic links, from names under the root to their targets.
func (l layout) link(links map[string]string) error {
	for name, target := range links {
		if err := os.MkdirAll(filepath.Dir(l.path(name)), 0o755); err != nil {
			return err
		}
		if err := os.Symlink(target, l.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// runtime puts containerd and runc where kind's units look for them.
func (l layout) runtime(programs map[string]string) error {
	links := map[string]string{"usr/local/sbin/runc": "/usr/sbin/runc"}
	if len(programs) == 0 {
		for _, program := range containerdPrograms() {
			links[path.Join("usr/local/bin", program)] = path.Join("/usr/bin", program)
		}
	}
	if err := l.link(links); err != nil {
		return err
	}
	return install(programs, l.path("usr/local/bin"))
}

func containerdPrograms() []string { return []string{"containerd", "ctr", "containerd-shim-runc-v2"} }

// plugins links Debian's CNI plugins to where everybody looks for them.
func (l layout) plugins() error {
	links := map[string]string{}
	for _, plugin := range []string{"host-local", "loopback", "ptp", "portmap"} {
		links[path.Join("opt/cni/bin", plugin)] = path.Join("/usr/lib/cni", plugin)
	}
	return l.link(links)
}

var (
	sandboxLine = regexp.MustCompile(`sandbox_image = "[^"]*"`)
	scoreLine   = regexp.MustCompile(`restrict_oom_score_adj = false`)
)

// containerdConfig takes kind's, with kubeadm's pause image. Restricting the score is for machines without CAP_SYS_RESOURCE and does no
// harm elsewhere.
func (l layout) containerdConfig() error {
	const name = "etc/containerd/config.toml"
	b, err := os.ReadFile(l.path(name))
	if err != nil {
		return err
	}
	if !sandboxLine.Match(b) || !scoreLine.Match(b) {
		return fmt.Errorf("%s of kind is not as expected: it has no sandbox_image or no restrict_oom_score_adj", name)
	}
	b = sandboxLine.ReplaceAll(b, []byte(`sandbox_image = "`+l.pause+`"`))
	return l.write(name, string(scoreLine.ReplaceAll(b, []byte("restrict_oom_score_adj = true"))))
}

// baseSpec is what containers start from: containerd's default, without limits, with kind's hook.
func (l layout) baseSpec(ctx context.Context) error {
	out, err := command.New("chroot", l.root, "/usr/local/bin/ctr", "oci", "spec").Run(ctx)
	if err != nil {
		return err
	}
	var spec map[string]any
	if err := json.Unmarshal([]byte(out), &spec); err != nil {
		return fmt.Errorf("read what ctr oci spec says: %w", err)
	}
	if process, ok := spec["process"].(map[string]any); ok {
		delete(process, "rlimits")
	}
	spec["hooks"] = map[string]any{"createContainer": []any{map[string]any{"path": "/kind/bin/mount-product-files.sh"}}}
	b, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return err
	}
	return l.write("etc/containerd/cri-base.json", string(b))
}

// install copies programs into a folder.
func install(programs map[string]string, dir string) error {
	for name, src := range programs {
		b, err := os.ReadFile(src)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o755); err != nil {
			return err
		}
	}
	return nil
}
