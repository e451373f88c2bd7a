package daemonset

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	maxPages   = 100         // of pods that are read: more nodes than a cluster can have
	nameWithin = time.Minute // what it may take to name the nodes when the time is over
)

// daemonSet is what counts of https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/daemon-set-v1/.
type daemonSet struct {
	Metadata struct {
		UID        string `json:"uid"`
		Generation int64  `json:"generation"`
	} `json:"metadata"`
	Spec struct {
		Selector struct {
			MatchLabels map[string]string `json:"matchLabels"`
		} `json:"selector"`
	} `json:"spec"`
	Status struct {
		ObservedGeneration     int64 `json:"observedGeneration"`
		DesiredNumberScheduled int   `json:"desiredNumberScheduled"`
		UpdatedNumberScheduled int   `json:"updatedNumberScheduled"`
		NumberReady            int   `json:"numberReady"`
	} `json:"status"`
}

// counted reports whether the controller has counted the nodes of this DaemonSet.
func (d *daemonSet) counted() bool {
	return d.Metadata.UID != "" && d.Status.ObservedGeneration >= d.Metadata.Generation && d.Status.ObservedGeneration > 0
}

func (d *daemonSet) ready() bool {
	return d.counted() && min(d.Status.NumberReady, d.Status.UpdatedNumberScheduled) >= d.Status.DesiredNumberScheduled
}

// Result is how far a DaemonSet has come.
type Result struct {
	// Nodes is how many it should have a pod on.
	Nodes int
	// Ready is whether it has a ready one on each.
	Ready bool
	// Missing are the nodes without a ready pod, in order.
	Missing []Node
}

// Node is a node without a ready pod.
type Node struct {
	Name string
	// Why is what is known about the reason, one line.
	Why string
}

// Wait waits until a DaemonSet has a ready pod on each of its nodes, at most until the timeout is over. An error says that nothing is
// known, or that ctx ended. progress is told of each change in how many are ready.
func (c *Client) Wait(ctx context.Context, namespace, name string, timeout time.Duration, progress func(ready, nodes int)) (Result, error) {
	waiting, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	path := "/apis/apps/v1/namespaces/" + url.PathEscape(namespace) + "/daemonsets/" + url.PathEscape(name)
	var last *daemonSet
	var failure error
	for {
		var now daemonSet
		switch err := c.get(waiting, path, nil, &now); {
		case err == nil && now.counted():
			if last == nil || last.Status != now.Status {
				progress(now.Status.NumberReady, now.Status.DesiredNumberScheduled)
			}
			last = &now
		case err == nil:
			failure = fmt.Errorf("the DaemonSet %s in namespace %s was not counted by its controller", name, namespace)
		case waiting.Err() == nil: // not because the time is over
			failure = err
		}
		if last != nil && last.ready() {
			return Result{Nodes: last.Status.DesiredNumberScheduled, Ready: true}, nil
		}
		select {
		case <-waiting.Done():
		case <-time.After(c.interval):
			continue
		}
		if err := ctx.Err(); err != nil {
			return Result{}, fmt.Errorf("wait for the DaemonSet %s: %w", name, err)
		}
		if last == nil {
			return Result{}, errors.Join(fmt.Errorf("the Kubernetes API told nothing of the DaemonSet %s within %v", name, timeout), failure)
		}
		return c.late(ctx, namespace, last)
	}
}

// late names the nodes without a ready pod.
func (c *Client) late(ctx context.Context, namespace string, d *daemonSet) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, nameWithin)
	defer cancel()
	r := Result{Nodes: d.Status.DesiredNumberScheduled}
	pods, err := c.pods(ctx, namespace, d)
	if err != nil {
		return r, err
	}
	ready := 0
	for i := range pods {
		if pods[i].ready() {
			ready++
			continue
		}
		r.Missing = append(r.Missing, Node{Name: short(pods[i].node()), Why: short(pods[i].why())})
	}
	slices.SortFunc(r.Missing, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	if without := r.Nodes - ready - len(r.Missing); without > 0 {
		r.Missing = append(r.Missing, Node{Name: fmt.Sprintf("(%d more)", without), Why: "the DaemonSet has no pod there yet"})
	}
	r.Ready = len(r.Missing) == 0 // the last became ready at this moment
	return r, nil
}

// pods are the DaemonSet's.
func (c *Client) pods(ctx context.Context, namespace string, d *daemonSet) ([]pod, error) {
	var selector []string
	for _, key := range slices.Sorted(maps.Keys(d.Spec.Selector.MatchLabels)) {
		selector = append(selector, key+"="+d.Spec.Selector.MatchLabels[key])
	}
	query := url.Values{"labelSelector": {strings.Join(selector, ",")}, "limit": {"250"}}
	var all []pod
	for range maxPages {
		var page struct {
			Metadata struct {
				Continue string `json:"continue"`
			} `json:"metadata"`
			Items []pod `json:"items"`
		}
		if err := c.get(ctx, "/api/v1/namespaces/"+url.PathEscape(namespace)+"/pods", query, &page); err != nil {
			return nil, err
		}
		for i := range page.Items {
			if page.Items[i].of(d.Metadata.UID) {
				all = append(all, page.Items[i])
			}
		}
		if page.Metadata.Continue == "" {
			return all, nil
		}
		query.Set("continue", page.Metadata.Continue)
	}
	return nil, fmt.Errorf("list the pods: more than %d pages", maxPages)
}
