// Package workload runs pods on every node of a cluster.
package workload

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// Namespace of the workloads.
const Namespace = metav1.NamespaceDefault

const label = "app.kubernetes.io/name"

// OnePerNode is a deployment with as many pods as there are nodes, each on a node of its own.
func OnePerNode(name, image string, nodes int) *appsv1.Deployment {
	labels := map[string]string{label: name}
	replicas, grace := int32(nodes), int64(1)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: Namespace},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					Containers:                    []corev1.Container{{Name: "main", Image: image, ImagePullPolicy: corev1.PullIfNotPresent}},
					Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
					TerminationGracePeriodSeconds: &grace,
					Affinity:                      apart(labels),
				},
			},
		},
	}
}

func apart(labels map[string]string) *corev1.Affinity {
	return &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{
		RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{
			LabelSelector: &metav1.LabelSelector{MatchLabels: labels}, TopologyKey: corev1.LabelHostname,
		}},
	}}
}

// Nodes are the nodes that the deployment's running pods are on.
func Nodes(ctx context.Context, client kubernetes.Interface, name string) (map[string]bool, error) {
	return nodes(ctx, client, Namespace, label+"="+name)
}

// NodesOf are the nodes that running pods with the labels are on, whatever their namespace.
func NodesOf(ctx context.Context, client kubernetes.Interface, selector string) (map[string]bool, error) {
	return nodes(ctx, client, metav1.NamespaceAll, selector)
}

func nodes(ctx context.Context, client kubernetes.Interface, namespace, selector string) (map[string]bool, error) {
	pods, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return nil, fmt.Errorf("list the pods with %s: %w", selector, err)
	}
	on := map[string]bool{}
	for i := range pods.Items {
		if pods.Items[i].Status.Phase == corev1.PodRunning {
			on[pods.Items[i].Spec.NodeName] = true
		}
	}
	return on, nil
}
