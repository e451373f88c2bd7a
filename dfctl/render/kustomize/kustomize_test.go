package kustomize

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"
)

func tree(files map[string]string) fstest.MapFS {
	out := fstest.MapFS{}
	for name, text := range files {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

const (
	config  = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\n"
	ofX     = "resources: [x.yaml]\n"
	aConfig = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\n"
)

func TestOverlay(t *testing.T) {
	t.Parallel()
	files := tree(map[string]string{
		"overlays/one/kustomization.yaml": ofX, "overlays/one/x.yaml": config,
		"components/a/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [a.yaml]\n", "components/a/a.yaml": aConfig,
		"README.md": "not a kustomization",
	})
	out, err := Overlay(files, "one", Options{Components: []string{"a"}, Namespace: "here"})
	if err != nil {
		t.Fatal(err)
	}
	want := aConfig + "  namespace: here\n---\n" + config + "  namespace: here\n"
	if got := string(out); got != want && got != config+"  namespace: here\n---\n"+aConfig+"  namespace: here\n" {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestBrokenKustomizations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a file that there is not": {map[string]string{"overlays/one/kustomization.yaml": ofX}, "x.yaml"},
		"a field that there is not": {
			map[string]string{"overlays/one/kustomization.yaml": ofX + "resource: []\n", "overlays/one/x.yaml": config}, `unknown field "resource"`,
		},
		"a file of the machine": {map[string]string{"overlays/one/kustomization.yaml": "resources: [/etc/hostname]\n"}, "/etc/hostname"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := Overlay(tree(tc.files), "one", Options{})
			if err == nil || errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "build the overlay one") {
				t.Errorf("got %q, %v; want an error with %q", out, err, tc.want)
			}
		})
	}
}

func FuzzImage(f *testing.F) {
	for _, text := range []string{"a=b", "a=b:1", "ghcr.io/a/b=registry.example.com:5000/c:1@sha256:00", "=", "a=", "=b", "a=B"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		image, err := parseImage(text)
		if err != nil {
			return
		}
		if image.Name == "" || image.NewName == "" || !strings.HasPrefix(text, image.Name+"="+image.NewName) {
			t.Errorf("%q was taken for %+v", text, image)
		}
	})
}

func TestComponentThatDoesNotFitIsNamed(t *testing.T) {
	t.Parallel()
	files := tree(map[string]string{
		"overlays/one/kustomization.yaml": ofX, "overlays/one/x.yaml": config,
		"components/two/kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [../../overlays/one/x.yaml]\n",
	})
	out, err := Overlay(files, "one", Options{Components: []string{"two"}})
	if err == nil || !strings.Contains(err.Error(), "build the overlay one with two (") {
		t.Errorf("got %q, %v; want an error that names the component", out, err)
	}
}
