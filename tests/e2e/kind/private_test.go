//go:build e2e

package kind

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/scrape"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/workload"
)

// private proves that an image that needs a password comes from the swarm for those who have it, and not at all for others, on the nodes
// that hold it.
func (e *env) private(t *testing.T) {
	image, layers := e.pushTo(t, e.Private, 30<<20, 2<<20)
	e.pullSecret(t, "may-read")
	mark, err := e.Private.Mark()
	if err != nil {
		t.Fatal(err)
	}
	start := e.metrics(t)
	d := workload.OnePerNode("private", image.name, len(e.nodes))
	d.Spec.Template.Spec.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "may-read"}}
	e.roll(t, d)
	counts, err := e.Private.Since(mark)
	if err != nil {
		t.Fatal(err)
	}
	sentOnce(t, layers, counts)
	e.everythingOnce(t, layers, start)
	e.run(t, "not without the secret", func(t *testing.T) { e.refused(t, image) })
}

// everythingOnce fails when a node did not get all of the layers through Dragonfly, or all nodes together had more than a copy from the
// registry. Without TLS between nodes and supernodes it is one of the nodes that reads it, since credentials go nowhere else.
func (e *env) everythingOnce(t *testing.T, layers []v1.Layer, start map[string]scrape.Metrics) {
	t.Helper()
	size := sizeOf(t, layers)
	end := e.metrics(t)
	var fromRegistry float64
	for _, n := range e.nodes {
		seed, peers, registry := since(start[n], end[n], "seed"), since(start[n], end[n], "peers"), since(start[n], end[n], "origin")
		t.Logf("%s: %.0f bytes from the seed, %.0f from peers, %.0f from the registry", n, seed, peers, registry)
		if got := seed + peers + registry; got < float64(size) {
			t.Errorf("%s: got %.0f bytes through Dragonfly, want all of %d", n, got, size)
		}
		fromRegistry += registry
	}
	// The manifest and the configuration are beside the layers.
	if most := 1.02*float64(size) + 64<<10; fromRegistry > most {
		t.Errorf("all nodes got %.0f bytes from the registry, want at most %.0f", fromRegistry, most)
	}
}

// pullSecret makes a secret with the password of the private registry.
func (e *env) pullSecret(t *testing.T, name string) {
	t.Helper()
	type object = map[string]any
	login := base64.StdEncoding.EncodeToString([]byte(e.Private.User + ":" + e.Private.Password))
	config, err := json.Marshal(object{"auths": object{e.Private.Addr: object{"auth": login}}})
	if err != nil {
		t.Fatal(err)
	}
	secrets := e.Cluster.Client.CoreV1().Secrets(workload.Namespace)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: config},
	}
	if _, err := secrets.Create(t.Context(), secret, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := secrets.Delete(cleanupContext(t), name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// refusal is how containerd says that it was not let in.
var refusal = regexp.MustCompile(`401|403|[Uu]nauthorized|authorization failed|no basic auth credentials|pull access denied`)

// refused runs pods without the secret on the nodes, whose dfdaemons hold the image, one by tag and one by digest, and fails when any gets
// anything. The nodes' own copies are gone, so that nothing but registry and dfdaemon could give it.
func (e *env) refused(t *testing.T, image pushed) {
	for _, node := range e.nodes {
		if err := e.Cluster.ForgetImage(t.Context(), node, image.digest); err != nil {
			t.Fatal(err)
		}
	}
	mark, err := e.Private.Mark()
	if err != nil {
		t.Fatal(err)
	}
	start := e.metrics(t)
	repository, _, _ := strings.Cut(image.name, ":"+image.tag)
	var all errgroup.Group
	for i, node := range e.nodes {
		for what, reference := range map[string]string{"tag": image.name, "digest": repository + "@" + image.digest} {
			all.Go(func() error {
				name := fmt.Sprintf("no-secret-%s-%d", what, i)
				said, err := e.neverRuns(t, name, reference, node)
				t.Logf("%s on %s: %s", name, node, said)
				return err
			})
		}
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	counts, err := e.Private.Since(mark)
	if err != nil {
		t.Fatal(err)
	}
	for what, g := range counts {
		t.Errorf("the registry gave %d bytes of %s", g.Bytes, what)
	}
	end := e.metrics(t)
	for _, node := range e.nodes {
		for _, kind := range []string{"blob", "manifest", "tag"} {
			answers := map[string]string{"kind": kind, "class": "2xx"}
			if given := end[node].Sum(answered, answers) - start[node].Sum(answered, answers); given != 0 {
				t.Errorf("dfdaemon of %s gave a %[3]s %.0[2]f times, want never", node, given, kind)
			}
		}
	}
}

// neverRuns runs a pod and waits until its node has given up on the image, for a while. It returns what the node said.
func (e *env) neverRuns(t *testing.T, name, image, node string) (said []string, err error) {
	pods := e.Cluster.Client.CoreV1().Pods(workload.Namespace)
	pod, err := pods.Create(t.Context(), workload.OnNode(name, image, node), metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	defer func() {
		now := int64(0)
		err = errors.Join(err, pods.Delete(cleanupContext(t), name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
	}()
	err = e.Cluster.Until(t.Context(), "pod "+name+" is refused", func(ctx context.Context) string {
		failures, err := workload.Failures(ctx, e.Cluster.Client, pod.UID)
		if err != nil {
			return err.Error()
		}
		if len(failures) == 0 {
			return "no failure yet"
		}
		waits, err := workload.Waiting(ctx, e.Cluster.Client, name)
		if err != nil {
			return err.Error()
		}
		if waits != "ImagePullBackOff" {
			return "it is " + waits
		}
		return ""
	})
	if err != nil {
		return nil, err
	}
	if said, err = workload.Failures(t.Context(), e.Cluster.Client, pod.UID); err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(said, refusal.MatchString) {
		return nil, fmt.Errorf("pod %s was not refused, but: %q", name, said)
	}
	return said, nil
}
