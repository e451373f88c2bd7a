package helm

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func toy() fs.FS {
	return os.DirFS(filepath.Join("testdata", "toy"))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update accepts it):\n%s", path, diff)
	}
}

// TestRender compares with files that "helm template" wrote; make charts does so again for the chart itself.
func TestRender(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"defaults": {Release: "one", Namespace: "default"},
		"no hooks": {Release: "one", Namespace: "default", NoHooks: true},
		"everything": {
			Release: "two", Namespace: "other", KubeVersion: "1.30", APIVersions: []string{"monitoring.coreos.com/v1"},
			Values: map[string]any{"replicas": 3, "nested": map[string]any{"list": []any{"c"}, "map": map[string]any{"x": nil, "z": 3}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := Render(toy(), o)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.ReplaceAll(name, " ", "-"), got)
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	t.Parallel()
	nested := func(v any) map[string]any { return map[string]any{"nested": v} }
	for name, tc := range map[string]struct {
		o    Options
		want string
	}{
		"a misspelt value":              {Options{Release: "x", Values: map[string]any{"replica": 3}}, "'replica' not allowed"},
		"a misspelt value further down": {Options{Release: "x", Values: nested(map[string]any{"lists": 1})}, "at '/nested'"},
		"a value of another type":       {Options{Release: "x", Values: map[string]any{"replicas": "3"}}, "at '/replicas': got string, want integer"},
		"a value out of range":          {Options{Release: "x", Values: map[string]any{"replicas": 0}}, "at '/replicas': minimum"},
		"no release name":               {Options{}, `the release name ""`},
		"a release name with capitals":  {Options{Release: "Dragonfly"}, `the release name "Dragonfly"`},
		"a version that is none":        {Options{Release: "x", KubeVersion: "newest"}, `the Kubernetes version "newest"`},
		"a version that is too old":     {Options{Release: "x", KubeVersion: "1.26"}, "the chart is for Kubernetes >=1.27.0-0, and not for v1.26"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := Render(toy(), tc.o)
			if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error of the options with %q", err, tc.want)
			}
			if len(out) > 0 {
				t.Errorf("something was rendered all the same: %s", out)
			}
		})
	}
}

func TestBrokenCharts(t *testing.T) {
	t.Parallel()
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	meta := file("apiVersion: v2\nname: x\nversion: 1.0.0\n")
	for name, tc := range map[string]struct {
		files fstest.MapFS
		want  string
	}{
		"nothing":                     {fstest.MapFS{}, "Chart.yaml file is missing"},
		"a template that is none":     {fstest.MapFS{"Chart.yaml": meta, "templates/a.yaml": file("{{ x")}, "templates/a.yaml:1"},
		"a template that fails":       {fstest.MapFS{"Chart.yaml": meta, "templates/a.yaml": file(`{{ fail "because" }}`)}, "because"},
		"a template that is no YAML":  {fstest.MapFS{"Chart.yaml": meta, "templates/a.yaml": file("a: b: c")}, "templates/a.yaml"},
		"a .helmignore with ** in it": {fstest.MapFS{"Chart.yaml": meta, ".helmignore": file("a/**/b")}, "read .helmignore"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := Render(tc.files, Options{Release: "x"})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestKubeVersionIsThatOfTheLibraries(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`k8s\.io/client-go v0(\.[0-9.]+)`).FindSubmatch(data)
	if found == nil {
		t.Fatal("go.mod has no k8s.io/client-go")
	}
	if want := "v1" + string(found[1]); KubeVersion != want {
		t.Errorf("KubeVersion is %s; that of k8s.io/client-go is %s", KubeVersion, want)
	}
}
