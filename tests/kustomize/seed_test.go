package kustomize

import (
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/dfctl/render/helm"
	"github.com/dragonfly-kube/dragonfly/dfctl/render/supernode"
)

// leaves are the values of an object by their paths. An element of a list is named by what names it, so that its place does not count.
func leaves(prefix string, v any, out map[string]string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			leaves(prefix+"."+key, value, out)
		}
	case []any:
		for i, element := range v {
			name := fmt.Sprint(i)
			if m, ok := element.(map[string]any); ok {
				for _, key := range []string{"effect", "key", "mountPath", "name"} { // the last that is there
					if text, ok := m[key].(string); ok {
						name = text
					}
				}
				if mount, ok := m["mountPath"].(string); ok {
					name = path.Clean(mount)
				}
			}
			leaves(prefix+"["+name+"]", element, out)
		}
	default:
		text := fmt.Sprint(v)
		if strings.HasPrefix(text, "/") {
			text = path.Clean(text)
		}
		out[prefix] = text
	}
}

// fields are the leaves of one of our objects or of the first document's. A pod's have the same names wherever the pod is described.
func fields(program string, o object) map[string]string {
	o = clone(map[string]any(o)).(map[string]any)
	out := map[string]string{}
	kind := o["kind"].(string)
	if kind == "Pod" {
		delete(o, "apiVersion")
		delete(o, "kind")
		leaves(program+" pod", map[string]any(o), out)
		return out
	}
	if template, ok := field(o, "spec", "template").(map[string]any); ok {
		leaves(program+" pod", template, out)
		edit(o, func(m map[string]any) { delete(m, "template") }, "spec")
	}
	leaves(program+" "+kind, map[string]any(o), out)
	return out
}

// rows are the paths in the table of docs/install.md.
func rows(t *testing.T) []string {
	t.Helper()
	doc, err := os.ReadFile("../../docs/install.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(doc), "\n## The fields of the first document\n")
	if !ok {
		t.Fatal("docs/install.md has no section about the fields of the first document")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var out []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\| [^|]+ \\| .{10,} \\|$").FindAllStringSubmatch(section, -1) {
		for _, name := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			out = append(out, name[1])
		}
	}
	if len(out) == 0 {
		t.Fatal("the table of fields has no rows")
	}
	return out
}

// covers reports whether a row speaks of a field: of it, or of what it is part of. "[]" is any element.
func covers(row, name string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(row), `\[\]`, `\[[^\]]+\]`)
	return regexp.MustCompile(`^` + pattern + `($|[.\[])`).MatchString(name)
}

// TestEveryFieldOfTheFirstDocument: it is in what we install, or docs/install.md says why it is not.
func TestEveryFieldOfTheFirstDocument(t *testing.T) {
	t.Parallel()
	table, used := rows(t), map[string]bool{}
	for _, tc := range []struct {
		seed    string
		program string
		ours    object
	}{
		{"Pod supernode", "supernode", staticObject(t)},
		{"Deployment supernode", "supernode", overlay(t, "deployment")["Deployment dragonfly-supernode"]},
		{"Service supernode", "supernode", overlay(t, "deployment")["Service dragonfly-supernode"]},
		{"DaemonSet dfdaemon", "dfdaemon", overlay(t, "deployment")["DaemonSet dragonfly-dfdaemon"]},
		{"ConfigMap dragonfly-conf", "dfdaemon", helmRender(t)["ConfigMap dragonfly-dfdaemon"]},
	} {
		theirs := seed(t)[tc.seed]
		if theirs == nil || tc.ours == nil {
			t.Fatalf("%s: one side has no such object", tc.seed)
		}
		ours, count := fields(tc.program, tc.ours), 0
		for name, value := range fields(tc.program, theirs) {
			count++
			if got, ok := ours[name]; ok && got == value {
				continue
			}
			i := slices.IndexFunc(table, func(row string) bool { return covers(row, name) })
			if i < 0 {
				t.Errorf("%s: the first document has %s = %q, we have %q, and the table does not say why", tc.seed, name, value, ours[name])
				continue
			}
			used[table[i]] = true
		}
		if count < 5 {
			t.Errorf("%s: only %d fields were looked at", tc.seed, count)
		}
	}
	for _, row := range table {
		if !used[row] {
			t.Errorf("the table has %s, which needs no explanation", row)
		}
	}
}

func seed(t *testing.T) map[string]object {
	t.Helper()
	out := map[string]object{}
	for _, name := range []string{"static-pod.yaml", "deployment.yaml"} {
		data, err := os.ReadFile(filepath.Join("testdata", "seed", name))
		if err != nil {
			t.Fatal(err)
		}
		maps.Copy(out, objects(t, data))
	}
	return out
}

func staticObject(t *testing.T) object {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "overlays", "static-pod", "supernode.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects(t, data) {
		return o
	}
	return nil
}

// TestDockerRunIsThatOfTheFirstDocument with an image of ours, and more options.
func TestDockerRunIsThatOfTheFirstDocument(t *testing.T) {
	t.Parallel()
	values, err := helm.Sources{Set: []string{"supernode.kind=StaticPod", "secret.existingSecret=x"}}.Merge()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := supernode.StaticPod(chart(t), helm.Options{Release: "dragonfly", Namespace: "kube-system", Values: values})
	if err != nil {
		t.Fatal(err)
	}
	script, err := supernode.DockerRun(manifest, "192.0.2.10")
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join("testdata", "seed", "docker-run.txt"))
	if err != nil {
		t.Fatal(err)
	}
	words := func(text string) []string {
		return strings.Fields(regexp.MustCompile(`-([pv]) `).ReplaceAllString(strings.ReplaceAll(text, "/:", ":"), "-$1="))
	}
	ours := words(script)
	theirs := words(strings.ReplaceAll(string(data), "/ ", " "))
	if len(theirs) < 8 {
		t.Fatalf("the first document's command is %q", theirs)
	}
	for _, word := range theirs[:len(theirs)-1] { // all but the image
		if !slices.Contains(ours, word) {
			t.Errorf("the command does not have %s:\n%s", word, script)
		}
	}
}
