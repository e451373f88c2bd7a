package charts_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const (
	tableBegin = "<!-- generated: values -->\n"
	tableEnd   = "<!-- end -->\n"
)

// table is values.yaml for people.
func table(values []value) string {
	var out strings.Builder
	fmt.Fprint(&out, "| value | default | meaning |\n|---|---|---|\n")
	for _, v := range values {
		meaning := strings.ReplaceAll(v.doc, "|", `\|`)
		fmt.Fprintf(&out, "| `%s` | `%s` | %s |\n", v.name(), strings.ReplaceAll(v.fallback, "|", `\|`), meaning)
	}
	return out.String()
}

func TestReadmeHasTheValues(t *testing.T) {
	t.Parallel()
	values, _ := documented(t)
	name := dir + "/README.md"
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no lines %q and %q", name, tableBegin, tableEnd)
	}
	golden(t, name, before+tableBegin+table(values)+tableEnd+after)
}
