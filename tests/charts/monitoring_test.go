package charts_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// expressions are those of the alerts and the dashboard, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	var alerts struct {
		Groups []struct {
			Rules []struct{ Alert, Expr string }
		}
	}
	read(t, dir+"/files/alerts.yaml", &alerts)
	for _, g := range alerts.Groups {
		for _, r := range g.Rules {
			all["alert "+r.Alert] = r.Expr
		}
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr, RefID string }
		}
	}
	read(t, dir+"/files/dashboard.json", &board)
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			all["panel "+p.Title+" "+target.RefID] = strings.NewReplacer("$__rate_interval", "5m", "$namespace", "a").Replace(target.Expr)
		}
	}
	if len(all) < 25 {
		t.Fatalf("found %d expressions only", len(all))
	}
	return all
}

// read reads YAML, or JSON, which is YAML.
func read(t *testing.T, name string, into any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

var (
	// named matches a metric's definition, and its labels if there are any.
	named = regexp.MustCompile(`Name:\s*"(dragonfly_[a-z_]+)"[^}]*\}(?:,\s*\[\]string\{([^}]*)\})?`)
	// mirrors matches those whose names begin alike.
	mirrors = regexp.MustCompile(`counter\("([a-z_]+)",\s*"[^"]*"((?:,\s*"[a-z]+")*)\)`)
	quoted  = regexp.MustCompile(`"([a-z_]+)"`)
)

// defined are the metrics of the programs' sources with their labels. What a program serves at a moment has no line for a counter with labels that
// has not counted yet, so the sources are read too; TestMetricsAreServed has the programs.
func defined(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	add := func(name, labels string) {
		all[name] = []string{}
		for _, m := range quoted.FindAllStringSubmatch(labels, -1) {
			all[name] = append(all[name], m[1])
		}
	}
	files, err := filepath.Glob("../../components/*/metrics.go")
	if err != nil {
		t.Fatal(err)
	}
	inner, err := filepath.Glob("../../components/internal/*/metrics.go")
	if err != nil || len(inner) < 5 {
		t.Fatalf("found %d files: %v", len(inner), err)
	}
	for _, name := range append(files, inner...) {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			add(m[1], m[2])
		}
		for _, m := range mirrors.FindAllStringSubmatch(string(text), -1) {
			add("dragonfly_mirror_"+m[1], m[2])
		}
	}
	return all
}

func TestExpressionsAreOfMetricsThatExist(t *testing.T) {
	t.Parallel()
	metrics := defined(t)
	served := scraped(t)
	for name := range served {
		if _, ok := metrics[name]; !ok && strings.HasPrefix(name, "dragonfly_") {
			t.Errorf("a program serves %s, which was not found in the sources: the patterns of this test miss it", name)
		}
	}
	// What the scrape adds to a series.
	common := map[string]bool{"namespace": true, "pod": true, "le": true, "node": true}
	for where, expr := range expressions(t) {
		tree, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
		if err != nil {
			t.Errorf("%s: %v\n%s", where, err, expr)
			continue
		}
		parser.Inspect(tree, func(n parser.Node, _ []parser.Node) error {
			selector, ok := n.(*parser.VectorSelector)
			if !ok {
				return nil
			}
			name := strings.TrimSuffix(selector.Name, "_bucket")
			labels, known := metrics[name]
			if !known && !served[name] {
				t.Errorf("%s: no program has the metric %s", where, name)
			}
			for _, m := range selector.LabelMatchers {
				if m.Name != "__name__" && !common[m.Name] && !slices.Contains(labels, m.Name) {
					t.Errorf("%s: %s has no label %s", where, name, m.Name)
				}
			}
			return nil
		})
	}
}
