package kustomize

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/dragonfly-kube/dragonfly/dfctl/render/helm"
	render "github.com/dragonfly-kube/dragonfly/dfctl/render/kustomize"
	"github.com/dragonfly-kube/dragonfly/kustomize"
)

// object is a Kubernetes object.
type object map[string]any

// objects are the objects of a stream by kind and name.
func objects(t *testing.T, stream []byte) map[string]object {
	t.Helper()
	out := map[string]object{}
	for doc := range bytes.SplitSeq(append([]byte("\n"), stream...), []byte("\n---\n")) {
		var o object
		// The line end belongs to a text that ends the object.
		if err := yaml.UnmarshalStrict(append(slices.Clip(doc), '\n'), &o); err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		if o == nil {
			continue
		}
		key := fmt.Sprintf("%v %v", o["kind"], field(o, "metadata", "name"))
		if out[key] != nil {
			t.Errorf("%s comes twice", key)
		}
		out[key] = o
	}
	return out
}

// field is the value at a path of keys, or nil.
func field(o object, keys ...string) any {
	var at any = map[string]any(o)
	for _, key := range keys {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[key]
	}
	return at
}

// edit changes the map at a path of keys, if it is there.
func edit(o object, change func(map[string]any), keys ...string) {
	if m, ok := field(o, keys...).(map[string]any); ok {
		change(m)
	}
}

func overlay(t *testing.T, name string, components ...string) map[string]object {
	t.Helper()
	out, err := render.Overlay(kustomize.FS, name, render.Options{Components: components, Namespace: "kube-system"})
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, out)
}

func helmRender(t *testing.T, set ...string) map[string]object {
	t.Helper()
	values, err := helm.Sources{Set: append([]string{"secret.existingSecret=dragonfly-secret"}, set...)}.Merge()
	if err != nil {
		t.Fatal(err)
	}
	out, err := helm.Render(chart(t), helm.Options{Release: "dragonfly", Namespace: "kube-system", Values: values, NoHooks: true})
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, out)
}

// hash is what kustomize puts behind the name of a ConfigMap.
var hash = regexp.MustCompile(`^dragonfly-dfdaemon-[a-z0-9]{10}$`)

// allowed are the differences between what Helm installs and what an overlay builds. Everything else is the same.
var allowed = []struct {
	why           string
	helm, overlay func(key string, o object)
}{
	{
		why: "labels that say that Helm looks after the object",
		helm: func(_ string, o object) {
			for _, at := range [][]string{{"metadata", "labels"}, {"spec", "template", "metadata", "labels"}} {
				edit(o, func(m map[string]any) { delete(m, "helm.sh/chart"); delete(m, "app.kubernetes.io/managed-by") }, at...)
			}
			edit(o, func(m map[string]any) {
				if m["endpointslice.kubernetes.io/managed-by"] == "helm" {
					m["endpointslice.kubernetes.io/managed-by"] = "kustomize"
				}
			}, "metadata", "labels")
		},
	},
	{
		why: "a changed configuration restarts pods: Helm by a checksum, kustomize by the ConfigMap's name",
		helm: func(_ string, o object) {
			edit(o, func(m map[string]any) { delete(m, "checksum/config") }, "spec", "template", "metadata", "annotations")
		},
		overlay: func(key string, o object) {
			if name, _ := field(o, "metadata", "name").(string); strings.HasPrefix(key, "ConfigMap ") && hash.MatchString(name) {
				edit(o, func(m map[string]any) { m["name"] = "dragonfly-dfdaemon" }, "metadata")
			}
			volumes, _ := field(o, "spec", "template", "spec", "volumes").([]any)
			for _, v := range volumes {
				edit(v.(map[string]any), func(m map[string]any) {
					if hash.MatchString(fmt.Sprint(m["name"])) {
						m["name"] = "dragonfly-dfdaemon"
					}
				}, "configMap")
			}
		},
	},
	{
		why: "kustomize can't change a namespace within a text, so there the name is looked up in the pod's",
		helm: func(_ string, o object) {
			edit(o, func(m map[string]any) {
				if conf, ok := m["dragonfly.conf"].(string); ok {
					m["dragonfly.conf"] = strings.Replace(conf, "\naddress=dragonfly-supernode-headless.kube-system.svc\n", "\naddress=dragonfly-supernode-headless\n", 1)
				}
			}, "data")
		},
	},
	{
		why: "each base has a ServiceAccount, so that it can be used without the other",
		helm: func(key string, o object) {
			if key == "Deployment dragonfly-supernode" {
				edit(o, func(m map[string]any) { m["serviceAccountName"] = "dragonfly-supernode" }, "spec", "template", "spec")
			}
		},
	},
}
