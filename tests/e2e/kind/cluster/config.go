package cluster

import (
	"sigs.k8s.io/kind/pkg/apis/config/v1alpha4"
)

// podSubnet holds the nodes' pods; each node has a part of it.
const podSubnet = "10.244.0.0/16"

// The kubelet must not insist on cgroup v2, and must live without what only the real root may do: machines differ.
const kubelet = `kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
failCgroupV1: false
featureGates:
  KubeletInUserNamespace: true
`

// hostsDirectory lets containerd read a registry's settings from files, as distributions of Kubernetes set it up. Its two forms are for
// the configuration versions 2 and 3; kind applies the one that fits.
func hostsDirectory() []string {
	return []string{
		"version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n",
		"version = 3\n[plugins.\"io.containerd.cri.v1.images\".registry]\n  config_path = \"/etc/containerd/certs.d\"\n",
	}
}

// kindConfig is one control plane and the workers, without a network for pods: see network.go.
func (c Config) kindConfig() *v1alpha4.Cluster {
	cfg := &v1alpha4.Cluster{
		TypeMeta: v1alpha4.TypeMeta{Kind: "Cluster", APIVersion: "kind.x-k8s.io/v1alpha4"},
		Name:     c.Name,
		Networking: v1alpha4.Networking{
			IPFamily: v1alpha4.IPv4Family, APIServerAddress: "127.0.0.1", PodSubnet: podSubnet, DisableDefaultCNI: true,
		},
		KubeadmConfigPatches: []string{kubelet},
	}
	if !c.NoHostsDirectory {
		cfg.ContainerdConfigPatches = hostsDirectory()
	}
	for i, image := range c.Images {
		role := v1alpha4.WorkerRole
		if i == 0 {
			role = v1alpha4.ControlPlaneRole
		}
		cfg.Nodes = append(cfg.Nodes, v1alpha4.Node{Role: role, Image: image})
	}
	v1alpha4.SetDefaultsCluster(cfg)
	return cfg
}
