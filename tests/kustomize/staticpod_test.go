package kustomize

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/dragonfly-kube/dragonfly/kustomize"
)

func staticPod(t *testing.T) corev1.Pod {
	t.Helper()
	data, err := fs.ReadFile(kustomize.FS, "overlays/static-pod/supernode.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict(data, &pod); err != nil {
		t.Fatalf("the manifest has a field that a pod does not have: %v", err)
	}
	return pod
}

// refusals are what kubelet says of a static pod. It refuses every reference to an object of the API (HasAPIObjectReference of
// k8s.io/kubernetes/pkg/api/pod), by Kubernetes 1.34 also before it starts the pod; and a pod on the node's network whose ports are mapped.
func refusals(pod *corev1.Pod) []string {
	var out []string
	bad := func(refused bool, why string) {
		if refused {
			out = append(out, why)
		}
	}
	spec := &pod.Spec
	bad(pod.APIVersion != "v1" || pod.Kind != "Pod", "not a pod")
	bad(pod.Name == "", "name is needed")
	bad(spec.ServiceAccountName != "" || spec.DeprecatedServiceAccount != "", "serviceaccounts")
	bad(len(spec.ImagePullSecrets) > 0, "secrets")
	bad(len(spec.ResourceClaims) > 0, "resourceclaims")
	bad(len(spec.EphemeralContainers) > 0, "ephemeral containers")
	for _, v := range spec.Volumes {
		own := corev1.VolumeSource{HostPath: v.HostPath, EmptyDir: v.EmptyDir, DownwardAPI: v.DownwardAPI}
		bad(v.VolumeSource != own, "volume "+v.Name+" needs the API")
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		bad(len(c.EnvFrom) > 0, "envFrom")
		for _, e := range c.Env {
			bad(e.ValueFrom != nil && (e.ValueFrom.SecretKeyRef != nil || e.ValueFrom.ConfigMapKeyRef != nil), "variable "+e.Name+" needs the API")
		}
		for _, p := range c.Ports {
			bad(spec.HostNetwork && p.HostPort != 0 && p.HostPort != p.ContainerPort, "port "+p.Name+" is mapped")
		}
	}
	// Two numbers for one class are refused when the pod's mirror is made.
	priority := map[string]int32{"system-cluster-critical": 2000000000, "system-node-critical": 2000001000}
	bad(spec.Priority != nil && *spec.Priority != priority[spec.PriorityClassName], "priority is not that of the class")
	return out
}

func TestStaticPodIsOneThatKubeletTakes(t *testing.T) {
	t.Parallel()
	pod := staticPod(t)
	if got := refusals(&pod); len(got) > 0 {
		t.Errorf("kubelet would refuse it: %s", strings.Join(got, ", "))
	}
	if !pod.Spec.HostNetwork || pod.Namespace != "kube-system" || len(pod.Spec.NodeSelector) > 0 {
		t.Errorf("hostNetwork %v, namespace %q, nodeSelector %v", pod.Spec.HostNetwork, pod.Namespace, pod.Spec.NodeSelector)
	}
	want := map[string]string{
		"/home/admin/supernode/repo": "/data/supernode/repo", "/home/admin/supernode/logs": "/data/log/supernode", "/etc/dragonfly": "/etc/dragonfly",
	}
	for _, m := range pod.Spec.Containers[0].VolumeMounts {
		i := slices.IndexFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if got := pod.Spec.Volumes[i].HostPath.Path; got != want[m.MountPath] {
			t.Errorf("%s is %s of the host, want %q", m.MountPath, got, want[m.MountPath])
		}
		delete(want, m.MountPath)
	}
	if len(want) > 0 {
		t.Errorf("not mounted: %v", want)
	}
}

// TestServicesSelectTheStaticPod: its mirror has the manifest's labels.
func TestServicesSelectTheStaticPod(t *testing.T) {
	t.Parallel()
	labels := staticPod(t).Labels
	services := 0
	for key, o := range overlay(t, "static-pod") {
		if o["kind"] != "Service" {
			continue
		}
		services++
		selector, _ := field(o, "spec", "selector").(map[string]any)
		if len(selector) == 0 {
			t.Errorf("%s has no selector", key)
		}
		for name, value := range selector {
			if labels[name] != value {
				t.Errorf("%s selects %s=%v, the pod has %q", key, name, value, labels[name])
			}
		}
	}
	if services != 2 {
		t.Errorf("%d Services, want 2", services)
	}
}

func TestRefusalsCanSayNo(t *testing.T) {
	t.Parallel()
	for name, patch := range map[string]string{
		"a service account":      `{"spec": {"serviceAccountName": "x"}}`,
		"an old service account": `{"spec": {"serviceAccount": "x"}}`,
		"a pull secret":          `{"spec": {"imagePullSecrets": [{"name": "x"}]}}`,
		"a ConfigMap":            `{"spec": {"volumes": [{"name": "x", "configMap": {"name": "x"}}]}}`,
		"a projected Secret":     `{"spec": {"volumes": [{"name": "x", "projected": {"sources": [{"secret": {"name": "x"}}]}}]}}`,
		"a claim":                `{"spec": {"volumes": [{"name": "x", "persistentVolumeClaim": {"claimName": "x"}}]}}`,
		"a variable of a Secret": `{"spec": {"containers": [{"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "x", "key": "x"}}}]}]}}`,
		"variables of a map":     `{"spec": {"initContainers": [{"envFrom": [{"configMapRef": {"name": "x"}}]}]}}`,
		"a mapped port":          `{"spec": {"containers": [{"ports": [{"hostPort": 80, "containerPort": 81}]}]}}`,
		"another priority":       `{"spec": {"priority": 5}}`,
		"a device claim":         `{"spec": {"resourceClaims": [{"name": "x"}]}}`,
		"no name":                `{"metadata": {"name": ""}}`,
	} {
		pod := staticPod(t)
		if err := json.Unmarshal([]byte(patch), &pod); err != nil {
			t.Fatal(err)
		}
		if got := refusals(&pod); len(got) != 1 {
			t.Errorf("%s: %v, want one refusal", name, got)
		}
	}
}
