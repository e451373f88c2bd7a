// Package supernode writes a supernode that no Kubernetes API looks after: a static pod, or a container run by Docker.
package supernode

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/dragonfly-kube/dragonfly/dfctl/render/helm"
)

// errNoManifest is a mistake in the chart.
var errNoManifest = errors.New("the chart renders no manifest of a static pod")

// StaticPod is the manifest that the chart renders for kubelet, with its comments.
func StaticPod(chart fs.FS, o helm.Options) (string, error) {
	out, err := helm.Render(chart, o)
	if err != nil {
		return "", err
	}
	for doc := range bytes.SplitSeq(out, []byte("\n---\n")) {
		var config corev1.ConfigMap
		if err := yaml.Unmarshal(doc, &config); err != nil {
			return "", fmt.Errorf("read what the chart renders: %w", err)
		}
		if config.Kind != "ConfigMap" {
			continue
		}
		for name, text := range config.Data {
			if _, err := decode(text); err == nil && strings.HasSuffix(name, ".yaml") {
				return text, nil
			}
		}
	}
	return "", errNoManifest
}

// decode reads a manifest and refuses fields that a pod does not have.
func decode(text string) (corev1.Pod, error) {
	var pod corev1.Pod
	if err := yaml.UnmarshalStrict([]byte(text), &pod); err != nil {
		return corev1.Pod{}, fmt.Errorf("read the pod: %w", err)
	}
	if pod.Kind != "Pod" || len(pod.Spec.Containers) != 1 {
		return corev1.Pod{}, errNoManifest
	}
	return pod, nil
}
