//go:build e2e

package kind

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"helm.sh/helm/v3/pkg/chart/loader"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/payload"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/release"
	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/rollout"
)

const (
	// mostPulls bounds what is pulled while a release is upgraded.
	mostPulls = 12
	nextTag   = "e2e-next"
)

// upgrade replaces the release's images and values, and takes that back, while pods are started all the time.
func (e *env) upgrade(t *testing.T) {
	r := e.open(t)
	values, err := r.Values()
	if err != nil {
		t.Fatal(err)
	}
	e.retag(t, nextTag)
	old, layers := e.push(t, 12<<20, 3<<20)
	before := e.start(t, "before-upgrade", old, layers, e.nodes)
	before.end(t)
	before.remove(t)
	secret := e.secret(t)
	e.run(t, "helm upgrade", func(t *testing.T) {
		e.pulling(t, "upgrade", func() error { return errors.Join(r.Upgrade(t.Context(), changed(values)), e.allReady(t.Context())) })
		e.runs(t, nextTag)
		e.survived(t, "after-upgrade", old, layers, secret)
	})
	e.run(t, "helm rollback", func(t *testing.T) {
		e.pulling(t, "rollback", func() error { return errors.Join(r.Rollback(), e.allReady(t.Context())) })
		e.runs(t, e.ourTag(t))
		e.survived(t, "after-rollback", old, layers, secret)
	})
}

// allReady waits for all pods of the release. Helm is content when as many are missing as may be.
func (e *env) allReady(ctx context.Context) error {
	return errors.Join(e.Cluster.DaemonSetReady(ctx, namespace, daemonSet), e.Cluster.DeploymentReady(ctx, namespace, supernodeDeployment))
}

// open finds the release that is installed.
func (e *env) open(t *testing.T) *release.Release {
	t.Helper()
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	r, err := release.Open(e.Cluster.Kubeconfig, e.root+"/charts/dragonfly", releaseName, namespace, log)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// changed is what the upgrade brings: other images, and values that change the objects of both programs.
func changed(values map[string]any) map[string]any {
	next := maps.Clone(values)
	for _, component := range []string{"supernode", "dfdaemon"} {
		inner, _ := next[component].(map[string]any)
		inner = maps.Clone(inner)
		if inner == nil {
			inner = map[string]any{}
		}
		inner["image"] = map[string]any{"tag": nextTag}
		inner["logLevel"] = "debug"
		inner["diskQuota"] = "20GiB"
		next[component] = inner
	}
	return next
}

// retag gives our images on all nodes another tag, too.
func (e *env) retag(t *testing.T, tag string) {
	t.Helper()
	for _, node := range e.nodes {
		for _, name := range ourImages() {
			if err := e.Cluster.TagImage(t.Context(), node, name+":"+e.ourTag(t), name+":"+tag); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func ourImages() []string {
	return []string{"ghcr.io/dragonfly-kube/supernode", "ghcr.io/dragonfly-kube/dfdaemon"}
}

// ourTag is the chart's.
func (e *env) ourTag(t *testing.T) string {
	t.Helper()
	c, err := loader.Load(e.root + "/charts/dragonfly")
	if err != nil {
		t.Fatal(err)
	}
	return c.AppVersion()
}

// secret is the Secret that the chart has made.
func (e *env) secret(t *testing.T) *corev1.Secret {
	t.Helper()
	s, err := e.Cluster.Client.CoreV1().Secrets(namespace).Get(t.Context(), releaseName+"-secret", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pulling does something while pods with new images start on every node, one set after the other. None may fail to pull.
func (e *env) pulling(t *testing.T, name string, do func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	images := e.manyImages(t, name, mostPulls)
	var pulls []string
	var pullErr error
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i, image := range images {
			said, err := e.once(ctx, fmt.Sprintf("%s-%d", name, i), image)
			if err != nil {
				pullErr = fmt.Errorf("pull %d: %w", i, err)
				return
			}
			pulls = append(pulls, said)
			select {
			case <-done:
				return
			default:
			}
		}
	})
	err := do()
	close(done)
	wg.Wait()
	if err := errors.Join(err, pullErr); err != nil {
		t.Fatal(err)
	}
	t.Logf("meanwhile:\n%s", strings.Join(pulls, "\n"))
	if len(pulls) < 2 {
		t.Errorf("%d images were pulled meanwhile, want more", len(pulls))
	}
}

// manyImages pushes images that differ in their last layers only.
func (e *env) manyImages(t *testing.T, name string, n int) []string {
	t.Helper()
	base, err := payload.New(t.Context(), payload.Spec{Dir: t.TempDir(), Root: e.root, Mark: name, Sizes: []int64{1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	var images []string
	for i := range n {
		img := base
		for _, size := range []int64{3 << 20, 100 << 10} {
			layer, err := random.Layer(size, types.DockerLayer)
			if err != nil {
				t.Fatal(err)
			}
			if img, err = mutate.AppendLayers(img, layer); err != nil {
				t.Fatal(err)
			}
		}
		image, err := e.Origin.Push(t.Context(), repository, fmt.Sprintf("%s-%d-%d", name, i, time.Now().Unix()), img)
		if err != nil {
			t.Fatal(err)
		}
		images = append(images, image)
	}
	return images
}

// once runs an image on every node, and returns an error if a pull failed, even if a later try did not.
func (e *env) once(ctx context.Context, name, image string) (said string, err error) {
	r, err := rollout.Start(ctx, e.Cluster, name, image, e.nodes)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.Remove(ctx)) }()
	took, err := r.Wait(ctx)
	if err != nil {
		return "", err
	}
	failures, err := r.Failures(ctx)
	if err == nil && len(failures) > 0 {
		err = fmt.Errorf("pods ran after failures: %q", failures)
	}
	return fmt.Sprintf("%s: %d pods after %.1f s", name, len(e.nodes), took.Seconds()), err
}

// runs fails when a pod of ours has another tag.
func (e *env) runs(t *testing.T, tag string) {
	t.Helper()
	pods, err := e.Cluster.Client.CoreV1().Pods(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "app.kubernetes.io/instance=" + releaseName})
	if err != nil {
		t.Fatal(err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		if image := p.Spec.Containers[0].Image; p.DeletionTimestamp == nil && !strings.HasSuffix(image, ":"+tag) {
			t.Errorf("%s runs %s, want the tag %s", p.Name, image, tag)
		}
	}
	if len(pods.Items) <= len(e.nodes) {
		t.Errorf("%d pods are of the release, want more than %d", len(pods.Items), len(e.nodes))
	}
}

// survived fails when the secret is another one, or when an image that all nodes had pulled has to come from anywhere but their disks.
func (e *env) survived(t *testing.T, name, image string, layers []v1.Layer, secret *corev1.Secret) {
	t.Helper()
	if now := e.secret(t); now.UID != secret.UID || !reflect.DeepEqual(now.Data, secret.Data) {
		t.Error("the cluster secret is another one")
	}
	e.again(t, name, image, layers, e.nodes)
}

// again pulls an image that the nodes' dfdaemons hold, and containerd no more: no byte of a layer may come from anywhere else.
func (e *env) again(t *testing.T, name, image string, layers []v1.Layer, nodes []string) {
	t.Helper()
	digest := e.digest(t, image)
	for _, node := range nodes {
		if err := e.Cluster.ForgetImage(t.Context(), node, digest); err != nil {
			t.Fatal(err)
		}
	}
	p := e.start(t, name, image, layers, nodes)
	p.end(t)
	if n := p.copies(t, layers); n != 0 {
		t.Errorf("the registry sent %.3f copies of an image that all nodes had", n)
	}
	end := e.metrics(t)
	for _, node := range nodes {
		got := end[node].Sum(received, nil) - p.start[node].Sum(received, nil)
		sent := end[node].Sum(mirrored, nil) - p.start[node].Sum(mirrored, nil)
		if got != 0 || sent < float64(p.size) {
			t.Errorf("%s: dfdaemon received %.0f bytes and gave containerd %.0f, want none and %d", node, got, sent, p.size)
		}
	}
	p.remove(t)
}
