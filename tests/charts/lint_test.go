package charts_test

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/lint"
	"helm.sh/helm/v3/pkg/lint/support"
)

func TestHelmLintFindsNothing(t *testing.T) {
	t.Parallel()
	files := examples(t)
	files["default"] = nil
	for name, values := range files {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, m := range lint.All(dir, values, "kube-system", true).Messages {
				if m.Severity > support.InfoSev || !strings.Contains(m.Error(), "icon is recommended") {
					t.Error(m)
				}
			}
		})
	}
}

// helm renders a name that there is not as nothing, unless it is told to be strict.
func TestTemplatesUseNoValueThatThereIsNot(t *testing.T) {
	t.Parallel()
	for name, values := range examples(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := copied(load(t))
			all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "dragonfly", Namespace: "kube-system"}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := (engine.Engine{Strict: true}).Render(c, all); err != nil {
				t.Error(err)
			}
		})
	}
}
