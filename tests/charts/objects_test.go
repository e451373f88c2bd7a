package charts_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/yaml"
)

// objects are those of a manifest, with static pods that stand in ConfigMaps.
func objects(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	docs := yamlutil.NewYAMLReader(bufio.NewReader(strings.NewReader(manifest)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(doc, &u.Object); err != nil {
			t.Fatalf("%v:\n%s", err, doc)
		}
		if u.Object == nil {
			continue
		}
		if u.GetKind() == "" || u.GetAPIVersion() == "" {
			t.Fatalf("an object without kind or apiVersion:\n%s", doc)
		}
		all = append(all, u)
		if text, ok, _ := unstructured.NestedString(u.Object, "data", "supernode.yaml"); ok {
			all = append(all, objects(t, text)...)
		}
	}
}

// strict decodes into the types of the newest Kubernetes, and refuses fields that they don't have.
func strict(t *testing.T) runtime.Decoder {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{kubernetes.AddToScheme, monitoring.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
}

// schemas of a release of Kubernetes.
func schemas(t *testing.T, release string) *jsonschema.Compiler {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft7)
	if _, err := c.Compile(schemaFile(release)); err != nil {
		t.Fatal(err)
	}
	return c
}

func schemaFile(release string) string {
	return filepath.Join("testdata/schemas", "kubernetes-"+release+".json")
}

// against checks an object with a release's schema.
func against(c *jsonschema.Compiler, release string, u *unstructured.Unstructured) error {
	at := fmt.Sprintf("%s#/definitions/%s.%s", schemaFile(release), strings.ReplaceAll(u.GetAPIVersion(), "/", "."), u.GetKind())
	s, err := c.Compile(at)
	if err != nil {
		return err
	}
	text, err := u.MarshalJSON()
	if err != nil {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return err
	}
	return s.Validate(value)
}

func TestObjectsAreThoseOfKubernetes(t *testing.T) {
	t.Parallel()
	for name, values := range examples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			decoder, oldest, newest := strict(t), schemas(t, "1.27"), schemas(t, "1.34")
			all := objects(t, render(t, values, how{kube: "v1.27.0"}))
			if len(all) < 5 {
				t.Fatalf("found %d objects only", len(all))
			}
			for _, u := range all {
				id := u.GetKind() + " " + u.GetName()
				text, err := yaml.Marshal(u.Object)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := decoder.Decode(text, nil, nil); err != nil {
					t.Errorf("%s: %v", id, err)
				}
				if strings.HasPrefix(u.GetAPIVersion(), "monitoring.coreos.com/") {
					continue // strict decoding has to do
				}
				if err := errors.Join(against(oldest, "1.27", u), against(newest, "1.34", u)); err != nil {
					t.Errorf("%s: %v", id, err)
				}
			}
		})
	}
}

func TestJudgesOfObjectsCanSayNo(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"a field that there is not": "{apiVersion: v1, kind: Pod, spec: {containers: [{name: a, imag: b}]}}",
		"a text for a number":       "{apiVersion: apps/v1, kind: Deployment, spec: {replicas: two, selector: {}, template: {}}}",
		"a field of another kind":   "{apiVersion: apps/v1, kind: DaemonSet, spec: {replicas: 2, selector: {}, template: {}}}",
	}
	for name, text := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := objects(t, text)[0]
			if _, _, err := strict(t).Decode([]byte(text), nil, nil); err == nil {
				t.Error("the types take it")
			}
			for _, release := range []string{"1.27", "1.34"} {
				if err := against(schemas(t, release), release, u); err == nil || strings.Contains(err.Error(), "not found") {
					t.Errorf("the schema of %s says %v", release, err)
				}
			}
		})
	}
	if err := against(schemas(t, "1.27"), "1.27", objects(t, "{apiVersion: v1, kind: Pod, spec: {containers: [{name: a}]}}")[0]); err != nil {
		t.Errorf("a good pod: %v", err)
	}
}

func TestUndoRunsInOrderAndLeavesNothing(t *testing.T) {
	t.Parallel()
	r, err := install(load(t), nil, how{})
	if err != nil {
		t.Fatal(err)
	}
	weight := map[string]int{}
	for _, h := range r.Hooks {
		if !slices.Contains(h.Events, "post-delete") {
			continue
		}
		weight[h.Kind] = h.Weight
		if policies := fmt.Sprint(h.DeletePolicies); policies != "[before-hook-creation hook-succeeded]" {
			t.Errorf("%s is deleted by %s", h.Kind, policies)
		}
	}
	order := []string{"ServiceAccount", "Role", "RoleBinding", "DaemonSet", "Job"}
	if len(weight) != len(order) || !slices.IsSortedFunc(order, func(a, b string) int { return weight[a] - weight[b] }) {
		t.Errorf("got %v, want the order %v", weight, order)
	}
}
