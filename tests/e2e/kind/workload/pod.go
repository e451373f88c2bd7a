package workload

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// OnNode is a pod for one node, whose kubelet asks the registry each time.
func OnNode(name, image, node string) *corev1.Pod {
	grace := int64(1)
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace, Labels: map[string]string{label: name}},
		Spec: corev1.PodSpec{
			NodeName:                      node,
			Containers:                    []corev1.Container{{Name: "main", Image: image, ImagePullPolicy: corev1.PullAlways}},
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			TerminationGracePeriodSeconds: &grace,
		},
	}
}

// Waiting is why the container of a pod does not run, as "ImagePullBackOff"; "" when it runs.
func Waiting(ctx context.Context, client kubernetes.Interface, name string) (string, error) {
	p, err := client.CoreV1().Pods(Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return "", fmt.Errorf("look at pod %s: %w", name, err)
	}
	for i := range p.Status.ContainerStatuses {
		s := &p.Status.ContainerStatuses[i]
		if s.State.Running != nil {
			return "", nil
		}
		if s.State.Waiting != nil {
			return s.State.Waiting.Reason, nil
		}
	}
	return string(p.Status.Phase), nil
}

// Failures are what kubelet says of a pod's pulls that failed. Another pod of the same name, whose events outlive it, does not count.
func Failures(ctx context.Context, client kubernetes.Interface, pod types.UID) ([]string, error) {
	events, err := client.CoreV1().Events(Namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=Failed,involvedObject.uid=" + string(pod)})
	if err != nil {
		return nil, fmt.Errorf("list what became of pod %s: %w", pod, err)
	}
	var failures []string
	for i := range events.Items {
		if m := events.Items[i].Message; strings.HasPrefix(m, "Failed to pull image") {
			failures = append(failures, m)
		}
	}
	return failures, nil
}
