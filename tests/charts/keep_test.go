package charts_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
)

// cluster is what the chart's templates can look up.
type cluster struct{ objects []*unstructured.Unstructured }

// GetClientFor implements engine.ClientProvider.
func (c cluster) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	scheme := runtime.NewScheme()
	gvk := schema.FromAPIVersionAndKind(apiVersion, kind)
	gvr := gvk.GroupVersion().WithResource(strings.ToLower(kind) + "s")
	var all []runtime.Object
	for _, o := range c.objects {
		if o.GroupVersionKind() == gvk {
			all = append(all, o)
		}
	}
	client := fake.NewSimpleDynamicClientWithCustomListKinds(scheme, map[schema.GroupVersionResource]string{gvr: kind + "List"}, all...)
	return client.Resource(gvr), true, nil
}

// upgrade renders for a cluster that has objects, and returns those that it would have then.
func upgrade(t *testing.T, values map[string]any, has ...*unstructured.Unstructured) ([]*unstructured.Unstructured, error) {
	t.Helper()
	c := copied(load(t))
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "dragonfly", Namespace: "kube-system", Revision: 2, IsUpgrade: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	files, err := engine.RenderWithClientProvider(c, all, cluster{has})
	if err != nil {
		return nil, err
	}
	var out []*unstructured.Unstructured
	for name, text := range files {
		if strings.HasSuffix(name, ".yaml") {
			out = append(out, objects(t, text)...)
		}
	}
	return out, nil
}

func mustUpgrade(t *testing.T, values map[string]any, has ...*unstructured.Unstructured) []*unstructured.Unstructured {
	t.Helper()
	out, err := upgrade(t, values, has...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// data is a Secret's, decoded.
func data(t *testing.T, all []*unstructured.Unstructured, name string) map[string]string {
	t.Helper()
	for _, u := range all {
		if u.GetKind() != "Secret" || u.GetName() != name {
			continue
		}
		out := map[string]string{}
		got, _, err := unstructured.NestedStringMap(u.Object, "data")
		if err != nil {
			t.Fatal(err)
		}
		for key, text := range got {
			decoded, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				t.Fatal(err)
			}
			out[key] = string(decoded)
		}
		return out
	}
	t.Fatalf("no Secret %s", name)
	return nil
}

func TestSecretsAreMadeOnceAndKept(t *testing.T) {
	t.Parallel()
	values := parse(t, "tls: {enabled: true}")
	first, other := mustUpgrade(t, values), mustUpgrade(t, values)
	secret := data(t, first, "dragonfly-secret")["secret"]
	if len(secret) < 32 || secret == data(t, other, "dragonfly-secret")["secret"] {
		t.Errorf("the secret has %d bytes, or is the same in two releases", len(secret))
	}
	// Another set of values, another certificate's names.
	next := mustUpgrade(t, parse(t, "{tls: {enabled: true}, supernode: {replicas: 3, ports: {register: 9001}}, commonLabels: {a: b}}"), first...)
	if got := data(t, next, "dragonfly-secret")["secret"]; got != secret {
		t.Errorf("an upgrade made the secret %q of %q", got, secret)
	}
	for key, want := range data(t, first, "dragonfly-tls") {
		if got := data(t, next, "dragonfly-tls")[key]; got != want {
			t.Errorf("an upgrade made another %s", key)
		}
	}
}

func TestCertificateIsForTheNamesThatNodesUse(t *testing.T) {
	t.Parallel()
	all := mustUpgrade(t, parse(t, "tls: {enabled: true}"))
	made := data(t, all, "dragonfly-tls")
	block, _ := pem.Decode([]byte(made["tls.crt"]))
	certificate, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(made["ca.crt"])) {
		t.Fatal("ca.crt has no certificate")
	}
	address := ""
	for _, u := range all {
		if conf, ok, _ := unstructured.NestedString(u.Object, "data", "dragonfly.conf"); ok {
			_, address, _ = strings.Cut(conf, "address=")
			address, _, _ = strings.Cut(address, "\n")
		}
	}
	for _, name := range []string{address, "dragonfly-supernode", "dragonfly-supernode.kube-system.svc"} {
		if _, err := certificate.Verify(x509.VerifyOptions{DNSName: name, Roots: roots}); err != nil {
			t.Errorf("for %q: %v", name, err)
		}
	}
}

func TestNodesAreNotForgottenWhenNodeConfigIsSwitchedOff(t *testing.T) {
	t.Parallel()
	none := parse(t, "nodeConfig: {mode: none}")
	if _, err := upgrade(t, none, mustUpgrade(t, nil)...); err == nil || !strings.Contains(err.Error(), "nodeConfig.mode=rollback") {
		t.Errorf("from apply to none: got %v, want the way to do it", err)
	}
	if _, err := upgrade(t, none, mustUpgrade(t, parse(t, "nodeConfig: {mode: rollback}"))...); err != nil {
		t.Errorf("from rollback to none: %v", err)
	}
	if _, err := upgrade(t, none, mustUpgrade(t, none)...); err != nil {
		t.Errorf("from none to none: %v", err)
	}
}
