package node

import (
	"regexp"
	"slices"
	"strings"
)

// evidence is what tells of a runtime on a host: its socket, its configuration or its program.
var evidence = []struct {
	runtime Runtime
	files   []string
}{
	{K3s, []string{"/etc/rancher/k3s", "/var/lib/rancher/k3s"}},
	{RKE2, []string{"/etc/rancher/rke2", "/var/lib/rancher/rke2"}},
	{CRIO, []string{"/run/crio/crio.sock", "/etc/crio/crio.conf", "/etc/crio/crio.conf.d"}},
	{Containerd, []string{"/run/containerd/containerd.sock", "/etc/containerd/config.toml"}},
	{Docker, []string{"/run/docker.sock", "/etc/docker/daemon.json", "/usr/bin/dockerd", "/usr/sbin/dockerd", "/usr/local/bin/dockerd"}},
	{Podman, []string{"/usr/bin/podman"}},
}

// Detect finds the runtimes of a host. Where kubelet's configuration names one, it is that alone.
func Detect(tree Tree) ([]Runtime, error) {
	var found []Runtime
	for _, e := range evidence {
		if slices.ContainsFunc(e.files, tree.Exists) {
			found = append(found, e.runtime)
		}
	}
	if named, err := kubelet(tree); err != nil || named != "" && len(found) > 0 && found[0] != K3s && found[0] != RKE2 {
		return []Runtime{named}, err
	}
	if len(found) > 1 {
		var all []Runtime
		for _, r := range found {
			if r == Containerd {
				// Docker's packages bring containerd with the part for Kubernetes switched off.
				if off, err := criOff(tree); err != nil {
					return nil, err
				} else if off {
					continue
				}
			}
			all = append(all, r)
		}
		return all, nil
	}
	return found, nil
}

var endpoint = regexp.MustCompile(`(?m)(?:--container-runtime-endpoint[= ]|^\s*containerRuntimeEndpoint:)\s*"?([^\s"]+)`)

// kubelet is the runtime that kubelet's configuration names, "" for none that is known.
func kubelet(tree Tree) (Runtime, error) {
	for _, name := range []string{"/var/lib/kubelet/kubeadm-flags.env", "/var/lib/kubelet/config.yaml", "/etc/default/kubelet", "/etc/sysconfig/kubelet"} {
		text, err := read(tree, name)
		if err != nil {
			return "", err
		}
		m := endpoint.FindSubmatch(text)
		if m == nil {
			continue
		}
		switch socket := string(m[1]); {
		case strings.Contains(socket, "cri-dockerd"), strings.Contains(socket, "dockershim"):
			return Docker, nil
		case strings.HasSuffix(socket, "/run/containerd/containerd.sock"):
			return Containerd, nil
		case strings.HasSuffix(socket, "/crio.sock"):
			return CRIO, nil
		}
	}
	return "", nil
}
