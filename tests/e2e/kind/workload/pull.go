package workload

import (
	"context"
	"fmt"
	"regexp"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// PullTimes is how long each node took to pull and unpack the image of the deployment's running pods, by the word of its kubelet. A node that
// had the image is not in it.
func PullTimes(ctx context.Context, client kubernetes.Interface, name string) (map[string]time.Duration, error) {
	pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{LabelSelector: label + "=" + name})
	if err != nil {
		return nil, fmt.Errorf("list the pods of %s: %w", name, err)
	}
	nodes := map[string]string{}
	for i := range pods.Items {
		nodes[pods.Items[i].Name] = pods.Items[i].Spec.NodeName
	}
	events, err := client.CoreV1().Events(Namespace).List(ctx, metav1.ListOptions{FieldSelector: "reason=Pulled"})
	if err != nil {
		return nil, fmt.Errorf("list what became of pulls: %w", err)
	}
	times := map[string]time.Duration{}
	for i := range events.Items {
		node, ours := nodes[events.Items[i].InvolvedObject.Name]
		if took, ok := pullTime(events.Items[i].Message); ours && ok {
			times[node] = took
		}
	}
	return times, nil
}

var pulledIn = regexp.MustCompile(`^Successfully pulled image "[^"]*" in ([0-9.hmsµn]+)(?: |$)`)

// pullTime reads the message of a kubelet's event "Pulled".
func pullTime(message string) (time.Duration, bool) {
	m := pulledIn.FindStringSubmatch(message)
	if m == nil {
		return 0, false
	}
	took, err := time.ParseDuration(m[1])
	return took, err == nil
}
