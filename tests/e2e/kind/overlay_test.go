//go:build e2e

package kind

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/dragonfly-kube/dragonfly/tests/e2e/kind/command"
)

const (
	// system is the overlays' namespace.
	system     = metav1.NamespaceSystem
	secretName = "dragonfly-secret"
	// onNode is where kubectl finds the overlays.
	onNode = "/kind/kustomize"
	// settings is what a cluster with a private registry over plain HTTP adds to an overlay.
	settings = `apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
namespace: kube-system
resources: [../overlays/%s]
%s
configMapGenerator:
  - name: dragonfly-dfdaemon
    behavior: merge
    files: [dragonfly.conf]
`
)

func (e *env) controlPlane() string { return e.Cluster.Name + "-control-plane" }

// overlays proves the overlays.
func (e *env) overlays(t *testing.T) {
	secret := rand.Text() + rand.Text()
	e.makeSecret(t, secret)
	if _, err := e.Engine.Docker(t.Context(), command.New("", "cp", e.root+"/kustomize", e.controlPlane()+":"+onNode)); err != nil {
		t.Fatal(err)
	}
	before := e.nodeFiles(t)
	e.run(t, "deployment", func(t *testing.T) {
		// There is one node for them.
		e.apply(t, "deployment", "replicas: [{name: dragonfly-supernode, count: 1}]")
		e.shared(t, "overlay-deployment", overlayImage())
	})
	e.run(t, "static-pod", func(t *testing.T) {
		e.staticPod(t, secret)
		e.apply(t, "static-pod", "")
		e.shared(t, "overlay-static-pod", overlayImage())
	})
	e.run(t, "docker", func(t *testing.T) { e.dockerOverlay(t, secret) })
	e.run(t, "the nodes are as they were", func(t *testing.T) { same(t, before, e.nodeFiles(t)) })
}

func (e *env) makeSecret(t *testing.T, secret string) {
	t.Helper()
	secrets := e.Cluster.Client.CoreV1().Secrets(system)
	object := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: secretName}, StringData: map[string]string{"secret": secret}}
	if _, err := secrets.Create(t.Context(), object, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := secrets.Delete(cleanupContext(t), secretName, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// apply applies an overlay with the settings of this cluster and more, and deletes it when the test ends.
func (e *env) apply(t *testing.T, overlay, more string) {
	t.Helper()
	conf, err := os.ReadFile(filepath.Join(e.root, "kustomize/bases/dfdaemon/dragonfly.conf"))
	if err != nil {
		t.Fatal(err)
	}
	dir := onNode + "/e2e-" + overlay
	for file, content := range map[string]string{
		"kustomization.yaml": fmt.Sprintf(settings, overlay, more),
		"dragonfly.conf":     fmt.Sprintf("%s\nplain-http = %s\nallow-upstream = %s\n", conf, e.Origin.Addr, e.Origin.Addr),
	} {
		if err := e.Cluster.WriteFile(t.Context(), e.controlPlane(), dir+"/"+file, content); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { e.remove(t, dir) })
	out, err := e.Cluster.Kubectl(t.Context(), "apply", "-k", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(out)
	if strings.Contains(out, "deployment.apps/dragonfly-supernode") {
		if err := e.Cluster.DeploymentReady(t.Context(), system, "dragonfly-supernode"); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Cluster.DaemonSetReady(t.Context(), system, "dragonfly-dfdaemon"); err != nil {
		t.Fatal(err)
	}
}

// remove undoes the nodes and deletes the overlay's objects, as docs/install.md says.
func (e *env) remove(t *testing.T, dir string) {
	t.Helper()
	ctx := cleanupContext(t)
	const undo = "cd %[1]s && printf 'components: [../components/node-config-rollback]\n' >>kustomization.yaml"
	if _, err := e.Cluster.Exec(ctx, e.controlPlane(), "sh", "-c", fmt.Sprintf(undo, dir)); err != nil {
		t.Error(err)
	}
	if _, err := e.Cluster.Kubectl(ctx, "apply", "-k", dir); err != nil {
		t.Error(err)
	}
	if err := e.Cluster.DaemonSetReady(ctx, system, "dragonfly-dfdaemon"); err != nil {
		t.Error(err)
	}
	if _, err := e.Cluster.Kubectl(ctx, "delete", "--wait", "-k", dir); err != nil {
		t.Error(err)
	}
}

// staticPod puts the overlay's manifest on the control plane, with the secret as the overlay's README says.
func (e *env) staticPod(t *testing.T, secret string) {
	t.Helper()
	const manifest = "/etc/kubernetes/manifests/dragonfly-supernode.yaml"
	node := e.controlPlane()
	// kubelet does not try again to run a static pod whose ports were taken.
	if err := e.Cluster.PodsGone(t.Context(), system, supernodes); err != nil {
		t.Fatal(err)
	}
	if err := e.Cluster.WriteFile(t.Context(), node, "/etc/dragonfly/secret", secret+"\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Cluster.Exec(t.Context(), node, "sh", "-c", "chown 65532:65532 /etc/dragonfly/secret && chmod 400 /etc/dragonfly/secret"); err != nil {
		t.Fatal(err)
	}
	pod, err := os.ReadFile(filepath.Join(e.root, "kustomize/overlays/static-pod/supernode.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Cluster.WriteFile(t.Context(), node, manifest, string(pod)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := e.Cluster.Exec(cleanupContext(t), node, "rm", "-r", manifest, "/etc/dragonfly"); err != nil {
			t.Error(err)
		}
	})
	if err := e.Cluster.PodReady(t.Context(), system, "dragonfly-supernode-"+node); err != nil {
		t.Fatal(err)
	}
}
