package edit

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// yamlText is a text of one document.
type yamlText struct {
	mark, body []byte
	// root is nil for an empty document.
	root *yaml.Node
	// values is what it means.
	values any
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

func readYAML(text []byte) (*yamlText, error) {
	t := &yamlText{}
	t.mark, t.body = cutBOM(text)
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(t.body))
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return t, nil
	} else if err != nil {
		return nil, t.located(err)
	}
	var next yaml.Node
	if err := dec.Decode(&next); err == nil {
		return nil, &SyntaxError{Line: next.Line, Column: max(1, next.Column), Msg: "a second document begins here; one is wanted"}
	} else if !errors.Is(err, io.EOF) {
		return nil, t.located(err)
	}
	if err := doc.Decode(&t.values); err != nil {
		return nil, t.located(err)
	}
	t.root = doc.Content[0]
	return t, nil
}

// located gives an error of the library, which names the line at most, the first column of that line.
func (t *yamlText) located(err error) error {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = strings.TrimSpace(strings.TrimPrefix(strings.Replace(msg, m[0], "", 1), "unmarshal errors:"))
	}
	column := 1
	if all := bytes.Split(t.body, []byte("\n")); line <= len(all) {
		column += utf8.RuneCount(all[line-1]) - utf8.RuneCount(bytes.TrimLeft(all[line-1], " \t"))
	}
	return &SyntaxError{Line: line, Column: column, Msg: strings.Join(strings.Fields(msg), " ")}
}

// offset is where a node begins in the text, -1 where the library's lines are not the text's: it counts rare line ends too.
func (t *yamlText) offset(n *yaml.Node) int {
	rest, at := t.body, 0
	for range n.Line - 1 {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 {
			return -1
		}
		rest, at = rest[i+1:], at+i+1
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(rest)
		if size == 0 || rest[0] == '\n' {
			return -1
		}
		rest, at = rest[size:], at+size
	}
	return at
}

// refuse is the error at a node.
func refuse(n *yaml.Node, format string) error {
	return &SyntaxError{Line: max(1, n.Line), Column: max(1, n.Column), Msg: format}
}

// child is a mapping's key and value, nil where it has none of the name.
func child(n *yaml.Node, name string) (key, value *yaml.Node) {
	for i := 0; n != nil && n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name && n.Content[i].Kind == yaml.ScalarNode {
			return n.Content[i], n.Content[i+1]
		}
	}
	return nil, nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func isFlow(n *yaml.Node) bool { return n.Style&yaml.FlowStyle != 0 }

// insertFlow puts text behind the bracket that a flow collection begins with.
func (t *yamlText) insertFlow(n *yaml.Node, text string) (splice, error) {
	from := t.offset(n)
	if from < 0 || from >= len(t.body) || t.body[from] != '{' && t.body[from] != '[' {
		return splice{}, refuse(n, "this cannot be edited; edit it by hand")
	}
	if len(n.Content) > 0 {
		text += ", "
	}
	return splice{from + 1, from + 1, text}, nil
}

// insertUnder puts lines under a key, indented by two more than it, in front of a block or in place of nothing.
func (t *yamlText) insertUnder(key, value *yaml.Node, all ...string) (splice, error) {
	from := t.offset(key)
	if from < 0 || !isNull(value) && value.Line == key.Line {
		return splice{}, refuse(key, "what follows this key cannot be edited; edit it by hand")
	}
	in := strings.Repeat(" ", key.Column+1)
	if !isNull(value) {
		in = strings.Repeat(" ", max(0, value.Column-1))
	}
	for i := range all {
		all[i] = in + all[i]
	}
	from = lineEnd(t.body, from)
	return splice{from, from, lines(t.body, from, all...)}, nil
}

// insertItem puts an item in front of a block sequence's first.
func (t *yamlText) insertItem(n *yaml.Node, item string) (splice, error) {
	first := t.offset(n.Content[0])
	if first < 0 {
		return splice{}, refuse(n, "this list cannot be edited; edit it by hand")
	}
	from := lineStart(t.body, first)
	before := string(t.body[from:first])
	if strings.Trim(before, " \t-") != "" || strings.Count(before, "-") != 1 {
		return splice{}, refuse(n, "this list cannot be edited; edit it by hand")
	}
	return splice{from, from, before + item + newline(t.body)}, nil
}
