// Package rollout runs an image on some nodes while something else happens to them, and tells what came of it.
package rollout

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/cluster"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/workload"
)

// Rollout is a deployment with a pod on each of some nodes.
type Rollout struct {
	Name  string
	Nodes []string
	// Began is when it was made.
	Began time.Time

	cluster *cluster.Cluster
}

// Start makes the deployment and does not wait for it.
func Start(ctx context.Context, c *cluster.Cluster, name, image string, nodes []string) (*Rollout, error) {
	d := workload.OnePerNode(name, image, len(nodes))
	d.Spec.Template.Spec.Affinity.NodeAffinity = on(nodes)
	r := &Rollout{Name: name, Nodes: nodes, Began: time.Now(), cluster: c}
	if _, err := c.Client.AppsV1().Deployments(workload.Namespace).Create(ctx, d, metav1.CreateOptions{}); err != nil {
		return nil, fmt.Errorf("run %s: %w", image, err)
	}
	return r, nil
}

func on(nodes []string) *corev1.NodeAffinity {
	return &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{
			{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: nodes},
		}}},
	}}
}

// Wait returns how long after the start all pods ran.
func (r *Rollout) Wait(ctx context.Context) (time.Duration, error) {
	if err := r.cluster.DeploymentReady(ctx, workload.Namespace, r.Name); err != nil {
		failures, listErr := r.Failures(ctx)
		return 0, errors.Join(fmt.Errorf("%w; its events: %q", err, failures), listErr)
	}
	return time.Since(r.Began), nil
}

// Started is when each node's container started, in whole seconds.
func (r *Rollout) Started(ctx context.Context) (map[string]time.Time, error) {
	pods, err := r.pods(ctx)
	if err != nil {
		return nil, err
	}
	started := map[string]time.Time{}
	for i := range pods {
		for _, s := range pods[i].Status.ContainerStatuses {
			if s.State.Running != nil {
				started[pods[i].Spec.NodeName] = s.State.Running.StartedAt.Time
			}
		}
	}
	return started, nil
}

func (r *Rollout) pods(ctx context.Context) ([]corev1.Pod, error) {
	pods, err := r.cluster.Client.CoreV1().Pods(workload.Namespace).List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/name=" + r.Name})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", r.Name, err)
	}
	return pods.Items, nil
}

// Failures are the events of pulls that failed, which kubelet repeats after a while.
func (r *Rollout) Failures(ctx context.Context) ([]string, error) {
	events, err := r.cluster.Client.CoreV1().Events(workload.Namespace).List(ctx, metav1.ListOptions{FieldSelector: "involvedObject.kind=Pod"})
	if err != nil {
		return nil, fmt.Errorf("list events: %w", err)
	}
	var failures []string
	for i := range events.Items {
		e := &events.Items[i]
		if strings.HasPrefix(e.InvolvedObject.Name, r.Name+"-") && (e.Reason == "Failed" || e.Reason == "BackOff") {
			failures = append(failures, e.Source.Host+": "+e.Message)
		}
	}
	return failures, nil
}

// Remove deletes the deployment and waits until its pods are gone. One that is gone is no error.
func (r *Rollout) Remove(ctx context.Context) error {
	propagation := metav1.DeletePropagationForeground
	err := r.cluster.Client.AppsV1().Deployments(workload.Namespace).Delete(ctx, r.Name, metav1.DeleteOptions{PropagationPolicy: &propagation})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete %s: %w", r.Name, err)
	}
	return r.cluster.Until(ctx, "the pods of "+r.Name+" are gone", func(ctx context.Context) string {
		pods, err := r.pods(ctx)
		if err != nil {
			return err.Error()
		}
		if len(pods) > 0 {
			return pods[0].Name + " is there"
		}
		return ""
	})
}
