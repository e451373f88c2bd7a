package arch_test

import (
	"go/ast"
	"strings"
	"testing"
)

// minDocumented is the share of exported names that need a comment, in per cent.
const minDocumented = 95

func TestExportedNamesAreDocumented(t *testing.T) {
	t.Parallel()
	var total int
	var missing []string
	for _, f := range sources(t) {
		n, bare := undocumented(f)
		total += n
		missing = append(missing, bare...)
	}
	if total == 0 {
		t.Fatal("found no exported name")
	}
	if percent := 100 * (total - len(missing)) / total; percent < minDocumented {
		t.Errorf("%d %% of %d exported names are documented, want %d:\n%s", percent, total, minDocumented, strings.Join(missing, "\n"))
	}
}

// undocumented counts the exported names of a file and lists those without a comment. A comment on a group counts for all of it.
func undocumented(f file) (total int, missing []string) {
	if f.isTest() || f.ast.Name.Name == "main" {
		return 0, nil
	}
	count := func(name *ast.Ident, docs ...*ast.CommentGroup) {
		if !name.IsExported() {
			return
		}
		total++
		for _, doc := range docs {
			if doc.Text() != "" {
				return
			}
		}
		missing = append(missing, f.at(name.Pos())+": "+name.Name)
	}
	for _, d := range f.ast.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type)) {
				count(d.Name, d.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch s := spec.(type) {
				case *ast.TypeSpec:
					count(s.Name, s.Doc, s.Comment, d.Doc)
				case *ast.ValueSpec:
					for _, name := range s.Names {
						count(name, s.Doc, s.Comment, d.Doc)
					}
				}
			}
		}
	}
	return total, missing
}

// receiver is the name of a method's type.
func receiver(x ast.Expr) string {
	for {
		switch t := x.(type) {
		case *ast.StarExpr:
			x = t.X
		case *ast.IndexExpr:
			x = t.X
		case *ast.IndexListExpr:
			x = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

func TestDocumentationIsCountedRight(t *testing.T) {
	t.Parallel()
	const src = `package a

// A is told of.
type A struct{}

type B struct{}

func (A) M() {}

func (b *B) N() {}

func (c *hidden) O() {}

// The group's comment.
const (
	C = 1
	D = 2
)

var (
	E = 1 // told at the end
	F = 2
	g = 3
)
`
	f, err := parse("a.go", src)
	if err != nil {
		t.Fatal(err)
	}
	total, missing := undocumented(f)
	if total != 8 || len(missing) != 4 {
		t.Errorf("undocumented = %d, %q; want 8 names, missing B, M, N, F", total, missing)
	}
}
