package cluster

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DeploymentReady waits until every pod of the deployment is available.
func (c *Cluster) DeploymentReady(ctx context.Context, namespace, name string) error {
	return c.Until(ctx, "deployment "+name+" is available", func(ctx context.Context) string {
		d, err := c.Client.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		want := int32(1)
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas < want || d.Status.AvailableReplicas < want {
			return fmt.Sprintf("%d of %d pods", d.Status.AvailableReplicas, want)
		}
		return ""
	})
}

// DaemonSetReady waits until the pods of all nodes are available.
func (c *Cluster) DaemonSetReady(ctx context.Context, namespace, name string) error {
	return c.Until(ctx, "daemon set "+name+" is available", func(ctx context.Context) string {
		d, err := c.Client.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		s, want := d.Status, d.Status.DesiredNumberScheduled
		if s.ObservedGeneration < d.Generation || want == 0 || s.UpdatedNumberScheduled < want || s.NumberAvailable < want {
			return fmt.Sprintf("%d of %d pods", s.NumberAvailable, want)
		}
		return ""
	})
}

// PodReady waits until the pod is ready.
func (c *Cluster) PodReady(ctx context.Context, namespace, name string) error {
	return c.Until(ctx, "pod "+name+" is ready", func(ctx context.Context) string {
		p, err := c.Client.CoreV1().Pods(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err.Error()
		}
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		if !ready {
			return fmt.Sprintf("it is %s", p.Status.Phase)
		}
		return ""
	})
}

// PodsGone waits until no pod has the labels. Until then their ports on the node are taken.
func (c *Cluster) PodsGone(ctx context.Context, namespace, selector string) error {
	return c.Until(ctx, "pods are gone", func(ctx context.Context) string {
		list, err := c.Client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		if err != nil {
			return err.Error()
		}
		if n := len(list.Items); n > 0 {
			return fmt.Sprintf("%d are there", n)
		}
		return ""
	})
}
