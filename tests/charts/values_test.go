package charts_test

import (
	"encoding/json"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// value is an entry of values.yaml.
type value struct {
	path     []string
	doc      string // what stands behind "# -- "
	fallback string // the default, as JSON
	preset   any
}

func (v value) name() string { return strings.Join(v.path, ".") }

// documented reads values.yaml: an entry with a comment that begins with "# -- " is a value, other maps hold more of them. It also returns the paths of
// all maps on the way.
func documented(t *testing.T) (values []value, maps [][]string) {
	t.Helper()
	text, err := os.ReadFile(dir + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	var walk func(n *yaml.Node, path []string)
	walk = func(n *yaml.Node, path []string) {
		maps = append(maps, path)
		for i := 0; i < len(n.Content); i += 2 {
			key, content := n.Content[i], n.Content[i+1]
			at := append(slices.Clone(path), key.Value)
			_, comment, ok := strings.Cut(key.HeadComment, "# -- ")
			if !ok {
				if content.Kind != yaml.MappingNode || len(content.Content) == 0 {
					t.Errorf("values.yaml, line %d: %s has no comment that begins with \"# -- \"", key.Line, strings.Join(at, "."))
					continue
				}
				walk(content, at)
				continue
			}
			var preset any
			if err := content.Decode(&preset); err != nil {
				t.Fatal(err)
			}
			fallback, err := json.Marshal(preset)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values, value{at, strings.ReplaceAll(comment, "\n# ", " "), string(fallback), preset})
		}
	}
	walk(doc.Content[0], nil)
	if len(values) < 50 {
		t.Fatalf("found %d values only", len(values))
	}
	return values, maps
}

// get is what stands at a path, and whether anything does.
func get(values map[string]any, path []string) (any, bool) {
	var at any = values
	for _, key := range path {
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = m[key]; !ok {
			return nil, false
		}
	}
	return at, true
}

// with is values with one set, or without it if set is nil. The rest is shared.
func with(values map[string]any, path []string, set any) map[string]any {
	out := maps.Clone(values)
	if out == nil {
		out = map[string]any{}
	}
	if len(path) > 1 {
		inner, _ := out[path[0]].(map[string]any)
		out[path[0]] = with(inner, path[1:], set)
		return out
	}
	if set == nil {
		delete(out, path[0])
	} else {
		out[path[0]] = set
	}
	return out
}

func TestEveryValueIsUsed(t *testing.T) {
	t.Parallel()
	files := examples(t)
	before := map[string]string{}
	for name, values := range files {
		before[name] = shown(t, values)
	}
	values, _ := documented(t)
	for _, v := range values {
		t.Run(v.name(), func(t *testing.T) {
			t.Parallel()
			tried := 0
			for _, name := range slices.Sorted(maps.Keys(files)) {
				if _, ok := get(files[name], v.path); !ok {
					continue
				}
				tried++
				if before[name] != shown(t, with(files[name], v.path, nil)) {
					return
				}
			}
			if tried == 0 {
				t.Fatal("no example sets it: testdata/values/full-values.yaml should")
			}
			t.Errorf("%d examples set it, but what is rendered is the same without it", tried)
		})
	}
}

// shown is all that a user sees of a release, without what chance decides.
func shown(t *testing.T, values map[string]any) string {
	t.Helper()
	r, err := install(load(t), values, how{})
	if err != nil {
		return "refused: " + err.Error() // that is an effect too
	}
	return random.ReplaceAllString(manifests(r), "$1") + r.Info.Notes
}

func TestMisspeltValuesAreRefused(t *testing.T) {
	t.Parallel()
	values, inner := documented(t)
	names := inner
	for _, v := range values {
		names = append(names, v.path)
	}
	for _, path := range names {
		if len(path) == 0 {
			continue
		}
		wrong := slices.Clone(path)
		wrong[len(wrong)-1] += "s"
		if err := validate(t, with(nil, wrong, "x")); err == nil {
			t.Errorf("the value %s is taken, though it should be %s", strings.Join(wrong, "."), strings.Join(path, "."))
		}
	}
}

func TestSchemaHasTheValuesOfTheFile(t *testing.T) {
	t.Parallel()
	values, inner := documented(t)
	var schema map[string]any
	if err := json.Unmarshal(load(t).Schema, &schema); err != nil {
		t.Fatal(err)
	}
	definitions := schema["definitions"].(map[string]any)
	known := map[string]bool{}
	for _, path := range inner {
		known[strings.Join(path, ".")] = true
	}
	leaf := map[string]bool{}
	for _, v := range values {
		leaf[v.name()] = true
	}
	var walk func(node map[string]any, path string)
	walk = func(node map[string]any, path string) {
		if ref, ok := node["$ref"].(string); ok {
			node = definitions[strings.TrimPrefix(ref, "#/definitions/")].(map[string]any)
		}
		properties, _ := node["properties"].(map[string]any)
		for key, property := range properties {
			at := strings.TrimPrefix(path+"."+key, ".")
			switch {
			case leaf[at]:
				delete(leaf, at)
			case known[at]:
				walk(property.(map[string]any), at)
			default:
				t.Errorf("the schema has %s, values.yaml does not", at)
			}
		}
	}
	walk(schema, "")
	for name := range leaf {
		t.Errorf("values.yaml has %s, the schema does not", name)
	}
}
