package arch_test

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFuzzTargetsHaveACorpus(t *testing.T) {
	t.Parallel()
	for _, f := range sources(t) {
		for _, name := range bareTargets(f) {
			corpus := path.Join(path.Dir(f.path), "testdata/fuzz", name)
			if entries, err := os.ReadDir(filepath.Join(root(t), corpus)); err != nil || len(entries) == 0 {
				t.Errorf("%s: %s has neither f.Add nor a file in %s", f.path, name, corpus)
			}
		}
	}
}

// bareTargets are the fuzz targets of a file that add no seed by themselves.
func bareTargets(f file) []string {
	var bare []string
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || !f.isTest() || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Fuzz") {
			continue
		}
		adds := false
		ast.Inspect(fn, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			adds = adds || ok && sel.Sel.Name == "Add"
			return true
		})
		if !adds {
			bare = append(bare, fn.Name.Name)
		}
	}
	return bare
}

func TestBareTargetsAreFound(t *testing.T) {
	t.Parallel()
	f, err := parse("a_test.go", "package a\nfunc FuzzA(f *testing.F) { f.Add(1) }\nfunc FuzzB(f *testing.F) { f.Fuzz(nil) }\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := bareTargets(f); !slices.Equal(got, []string{"FuzzB"}) {
		t.Errorf("bareTargets = %q, want FuzzB", got)
	}
}
