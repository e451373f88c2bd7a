package hostfs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// mutating are the methods of os.Root and os.File that change a file system.
var mutating = []string{
	"Chmod", "Chown", "Chtimes", "Create", "Lchown", "Link", "Mkdir", "MkdirAll", "OpenFile", "ReadFrom", "Remove", "RemoveAll", "Rename", "Symlink",
	"Sync", "Truncate", "Write", "WriteAt", "WriteFile", "WriteString",
}

// TestEveryChangeIsAStep reads this package's source: what changes the host is within a step, so that tests can stop it there.
func TestEveryChangeIsAStep(t *testing.T) {
	t.Parallel()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		all, within := changes(t, string(text))
		steps += within
		for _, at := range all {
			t.Errorf("%s: %s outside of a step", file.Name(), at)
		}
	}
	if steps < 10 {
		t.Errorf("only %d changes within steps were found", steps)
	}
	if outside, within := changes(t, "package a\nfunc f() { r.step(Write, n, func() error { return g.Write(b) }); r.root.Remove(x) }"); len(outside) != 1 || within != 1 {
		t.Errorf("the check found %q outside of steps and %d within", outside, within)
	}
}

// changes are the calls outside of steps that change a file system, and how many there are within.
func changes(t *testing.T, text string) (outside []string, within int) {
	t.Helper()
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, "", text, 0)
	if err != nil {
		t.Fatal(err)
	}
	steps := map[ast.Node]bool{}
	depth := 0
	var stack []ast.Node
	ast.Inspect(tree, func(n ast.Node) bool {
		if n == nil {
			if steps[stack[len(stack)-1]] {
				depth--
			}
			stack = stack[:len(stack)-1]
			return true
		}
		stack = append(stack, n)
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		switch {
		case !ok:
		case sel.Sel.Name == "step":
			steps[n] = true
			depth++
		case slices.Contains(mutating, sel.Sel.Name) && (isRoot(sel.X) || isFile(sel.X)):
			if depth == 0 {
				outside = append(outside, set.Position(n.Pos()).String()+" "+sel.Sel.Name)
			} else {
				within++
			}
		}
		return true
	})
	return outside, within
}

// isRoot finds r.root, isFile what is called as open files are here. Methods of Root itself, r.Remove, consist of steps.
func isRoot(x ast.Expr) bool {
	sel, ok := x.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "root"
}

func isFile(x ast.Expr) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name != "r"
}
