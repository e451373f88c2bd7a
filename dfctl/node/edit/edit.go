// Package edit changes JSON, TOML and YAML texts in place. What is not asked for stays as it is, byte for byte: order, comments,
// indentation, line ends and a byte order mark. Each result is read back, and refused where anything else than what was asked for
// would have changed.
package edit

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// SyntaxError says where a text cannot be read, or cannot be edited.
type SyntaxError struct {
	// Line and Column begin at 1; a column counts characters.
	Line, Column int
	Msg          string
}

// Error implements error.
func (e *SyntaxError) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Msg)
}

// errElse is what the read-back finds. No text is known to cause it but by shapes that the editors do not look for.
var errElse = errors.New("the text has a shape that cannot be edited without changing something else; edit it by hand")

// Format is a kind of text.
type Format string

// The formats.
const (
	JSON  Format = "json"
	TOML  Format = "toml"
	YAML  Format = "yaml"
	Plain Format = "plain" // anything
)

// Check tells whether a text can be read.
func (f Format) Check(text []byte) error {
	var err error
	switch f {
	case JSON:
		_, body := cutBOM(text)
		if !blank(body) {
			_, err = readObject(body)
		}
	case TOML:
		_, err = ReadTOML(text)
	case YAML:
		_, err = readYAML(text)
	}
	return err
}

const bom = "\ufeff"

func cutBOM(text []byte) (mark, body []byte) {
	if bytes.HasPrefix(text, []byte(bom)) {
		return text[:len(bom)], text[len(bom):]
	}
	return nil, text
}

// at is the error for an offset in a text.
func at(body []byte, offset int, format string, args ...any) error {
	offset = min(max(0, offset), len(body))
	line := bytes.Count(body[:offset], []byte("\n")) + 1
	start := bytes.LastIndexByte(body[:offset], '\n') + 1
	return &SyntaxError{Line: line, Column: utf8.RuneCount(body[start:offset]) + 1, Msg: fmt.Sprintf(format, args...)}
}

// newline is how the text's first line ends.
func newline(body []byte) string {
	if i := bytes.IndexByte(body, '\n'); i > 0 && body[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// lineStart is where the line of an offset begins.
func lineStart(body []byte, offset int) int { return bytes.LastIndexByte(body[:offset], '\n') + 1 }

// lineEnd is where the line after the one of an offset begins.
func lineEnd(body []byte, offset int) int {
	if i := bytes.IndexByte(body[offset:], '\n'); i >= 0 {
		return offset + i + 1
	}
	return len(body)
}

// indent is the space and tabs at the beginning of the line of an offset.
func indent(body []byte, offset int) string {
	line := body[lineStart(body, offset):]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// lines joins lines by the text's way to end them. Where a line has to begin after text without a line end, it gets one.
func lines(body []byte, offset int, all ...string) string {
	nl := newline(body)
	text := strings.Join(all, nl) + nl
	if offset > 0 && body[offset-1] != '\n' {
		text = nl + text
	}
	return text
}

// splice is a replacement of a part of a text.
type splice struct {
	from, to int
	text     string
}

// apply makes replacements, which do not overlap.
func apply(mark, body []byte, all ...splice) []byte {
	slices.SortStableFunc(all, func(a, b splice) int { return a.from - b.from })
	out := slices.Clone(mark)
	done := 0
	for _, s := range all {
		out = append(out, body[done:s.from]...)
		out = append(out, s.text...)
		done = s.to
	}
	return append(out, body[done:]...)
}

// sameURL compares addresses, with or without a slash at the end.
func sameURL(a, b string) bool { return strings.TrimRight(a, "/") == strings.TrimRight(b, "/") }

// blank reports whether there is nothing but what JSON counts as space.
func blank(body []byte) bool { return len(bytes.Trim(body, " \t\r\n")) == 0 }
