// Package table writes tables of Markdown that are readable as text, too.
package table

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Table has a heading and rows of as many cells.
type Table struct {
	Heading []string
	Rows    [][]string
}

// Add adds a row; missing cells are empty, cells beyond the heading are left out.
func (t *Table) Add(cells ...string) {
	row := make([]string, len(t.Heading))
	copy(row, cells)
	t.Rows = append(t.Rows, row)
}

// Write writes the table with its columns in line: the first to the left, the others to the right.
func (t *Table) Write(w io.Writer) error {
	widths := make([]int, len(t.Heading))
	for _, row := range append([][]string{t.Heading}, t.Rows...) {
		for i, c := range row {
			widths[i] = max(widths[i], 3, utf8.RuneCountInString(escape(c)))
		}
	}
	var b strings.Builder
	line(&b, t.Heading, widths)
	for i, width := range widths {
		if i == 0 {
			b.WriteString("|:" + strings.Repeat("-", width+1))
		} else {
			b.WriteString("|" + strings.Repeat("-", width+1) + ":")
		}
	}
	b.WriteString("|\n")
	for _, row := range t.Rows {
		line(&b, row, widths)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func line(b *strings.Builder, cells []string, widths []int) {
	for i, c := range cells {
		if i == 0 {
			fmt.Fprintf(b, "| %-*s ", widths[i], escape(c))
		} else {
			fmt.Fprintf(b, "| %*s ", widths[i], escape(c))
		}
	}
	b.WriteString("|\n")
}

// escape keeps a cell from ending early.
func escape(s string) string { return strings.NewReplacer("|", `\|`, "\n", " ").Replace(s) }
