// Package charts_test checks the Helm chart: what it renders, refuses, documents and keeps.
package charts_test

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/release"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files and what is generated from values.yaml")

// dir is the chart.
const dir = "../../charts/dragonfly"

// loaded is the chart, read once. Tests get it and must not change it.
var loaded = sync.OnceValues(func() (*chart.Chart, error) { return loader.LoadDir(dir) })

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loaded()
	if err != nil {
		t.Fatalf("load the chart: %v", err)
	}
	return c
}

// how a chart is rendered. The zero value is a release "dragonfly" in "kube-system" of a new Kubernetes.
type how struct{ release, namespace, kube string }

// install is what `helm install --dry-run=client` does. It works on a copy: the library changes values.
func install(c *chart.Chart, values map[string]any, h how) (*release.Release, error) {
	i := action.NewInstall(&action.Configuration{})
	i.DryRun, i.ClientOnly, i.Replace = true, true, true
	i.ReleaseName, i.Namespace = cmp.Or(h.release, "dragonfly"), cmp.Or(h.namespace, "kube-system")
	version, err := chartutil.ParseKubeVersion(cmp.Or(h.kube, "v1.34.0"))
	if err != nil {
		return nil, err
	}
	i.KubeVersion = version
	return i.Run(copied(c), values)
}

// copied is a chart whose values are its own: helm's library writes to them.
func copied(c *chart.Chart) *chart.Chart {
	own := *c
	own.Values = map[string]any{}
	for _, f := range c.Raw {
		if f.Name == chartutil.ValuesfileName {
			if err := yaml.Unmarshal(f.Data, &own.Values); err != nil {
				panic(err) // the loader has read them before
			}
		}
	}
	return &own
}

// manifests is what `helm template` prints: the hooks after the rest.
func manifests(r *release.Release) string {
	var out strings.Builder
	fmt.Fprintln(&out, strings.TrimSpace(r.Manifest))
	for _, hook := range r.Hooks {
		fmt.Fprintf(&out, "---\n# Source: %s\n%s\n", hook.Path, strings.TrimSpace(hook.Manifest))
	}
	return out.String()
}

func render(t *testing.T, values map[string]any, h how) string {
	t.Helper()
	r, err := install(load(t), values, h)
	if err != nil {
		t.Fatalf("render: %v", err)
	}
	return manifests(r)
}

// validate says what the schema has against values.
func validate(t *testing.T, values map[string]any) error {
	t.Helper()
	c := load(t)
	all, err := chartutil.CoalesceValues(copied(c), values)
	if err != nil {
		t.Fatal(err)
	}
	return chartutil.ValidateAgainstSchema(c, all)
}

// parse reads values as a user writes them.
func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &values); err != nil {
		t.Fatalf("values:\n%s\n%v", text, err)
	}
	return values
}

// examples are the files of values that are rendered, by their name without "-values.yaml": the chart's own, which can be installed on a bare cluster,
// and more of the tests.
func examples(t *testing.T) map[string]map[string]any {
	t.Helper()
	names, err := filepath.Glob(dir + "/ci/*-values.yaml")
	if err != nil || len(names) < 6 {
		t.Fatalf("found %d ci files: %v", len(names), err)
	}
	more, err := filepath.Glob("testdata/values/*-values.yaml")
	if err != nil || len(more) == 0 {
		t.Fatalf("found %d files of values: %v", len(more), err)
	}
	names = append(names, more...)
	files := map[string]map[string]any{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(name), "-values.yaml")] = parse(t, string(text))
	}
	return files
}
