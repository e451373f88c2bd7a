package node_test

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/dfctl/node"
)

// files is a tree by path.
type files map[string]string

func (f files) ReadFile(name string) ([]byte, error) {
	text, ok := f[name]
	if !ok {
		return nil, fmt.Errorf("read %s: %w", name, fs.ErrNotExist)
	}
	return []byte(text), nil
}

func (f files) ReadDir(name string) ([]string, error) {
	var all []string
	for file := range f {
		if rest, ok := strings.CutPrefix(file, name+"/"); ok {
			first, _, _ := strings.Cut(rest, "/")
			all = append(all, first)
		}
	}
	if all == nil {
		return nil, fmt.Errorf("read %s: %w", name, fs.ErrNotExist)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (f files) Exists(name string) bool {
	_, ok := f[name]
	_, err := f.ReadDir(name)
	return ok || err == nil
}

func TestDetect(t *testing.T) {
	t.Parallel()
	const (
		containerd = "/run/containerd/containerd.sock"
		docker     = "/run/docker.sock"
	)
	for name, tc := range map[string]struct {
		files files
		want  []node.Runtime
	}{
		"nothing":                    {files{"/etc/hostname": ""}, nil},
		"Docker alone":               {files{docker: ""}, []node.Runtime{node.Docker}},
		"containerd alone":           {files{containerd: ""}, []node.Runtime{node.Containerd}},
		"both":                       {files{containerd: "", docker: ""}, []node.Runtime{node.Containerd, node.Docker}},
		"Docker's own containerd":    {files{containerd: "", docker: "", "/etc/containerd/config.toml": "disabled_plugins = [\"cri\"]\n"}, []node.Runtime{node.Docker}},
		"kubelet with containerd":    {files{containerd: "", docker: "", "/var/lib/kubelet/config.yaml": "a: b\ncontainerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n"}, []node.Runtime{node.Containerd}},
		"kubelet with cri-dockerd":   {files{containerd: "", docker: "", "/var/lib/kubelet/kubeadm-flags.env": "X=\"--container-runtime-endpoint=unix:///run/cri-dockerd.sock\""}, []node.Runtime{node.Docker}},
		"kubelet with CRI-O":         {files{containerd: "", "/etc/default/kubelet": "X=--container-runtime-endpoint unix:///var/run/crio/crio.sock"}, []node.Runtime{node.CRIO}},
		"kubelet with another":       {files{containerd: "", "/var/lib/kubelet/config.yaml": "containerRuntimeEndpoint: unix:///run/other.sock\n"}, []node.Runtime{node.Containerd}},
		"k3s brings its containerd":  {files{"/etc/rancher/k3s/k3s.yaml": "", "/run/k3s/containerd/containerd.sock": ""}, []node.Runtime{node.K3s}},
		"CRI-O with Podman":          {files{"/run/crio/crio.sock": "", "/usr/bin/podman": ""}, []node.Runtime{node.CRIO, node.Podman}},
		"k3s beside kubelet's files": {files{"/var/lib/rancher/k3s/x": "", "/etc/default/kubelet": "--container-runtime-endpoint=unix:///run/containerd/containerd.sock"}, []node.Runtime{node.K3s}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := node.Detect(tc.files)
			if err != nil || !slices.Equal(got, tc.want) {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestDetectNamesAMalformedFile(t *testing.T) {
	t.Parallel()
	_, err := node.Detect(files{"/run/docker.sock": "", "/etc/containerd/config.toml": "= 1"})
	if err == nil || !strings.Contains(err.Error(), "/etc/containerd/config.toml: line 1, column 1") {
		t.Errorf("got %v", err)
	}
}

func TestPlanOfAnUnknownRuntime(t *testing.T) {
	t.Parallel()
	if _, err := node.New(files{}, node.Request{Mirror: "http://127.0.0.1:65001"}, "rkt"); err == nil || !strings.Contains(err.Error(), `"rkt"`) {
		t.Errorf("got %v", err)
	}
}
