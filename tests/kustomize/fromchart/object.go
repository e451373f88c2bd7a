package fromchart

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// object is a Kubernetes object with its order and comments.
type object struct{ node *yaml.Node }

// decode reads a stream of objects, and drops the comments that say which template they come from.
func decode(stream []byte) ([]object, error) {
	var out []object
	d := yaml.NewDecoder(bytes.NewReader(stream))
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read what the chart renders: %w", err)
		}
		if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
			continue
		}
		for _, n := range []*yaml.Node{&doc, doc.Content[0], doc.Content[0].Content[0]} {
			n.HeadComment, n.FootComment = withoutSource(n.HeadComment), withoutSource(n.FootComment)
		}
		o := object{doc.Content[0]}
		o.node.HeadComment = strings.TrimLeft(doc.HeadComment+"\n"+o.node.HeadComment, "\n")
		out = append(out, o)
	}
}

func withoutSource(comment string) string {
	lines := slices.DeleteFunc(strings.Split(comment, "\n"), func(line string) bool { return strings.HasPrefix(line, "# Source: ") })
	return strings.Join(lines, "\n")
}

func encode(n *yaml.Node) string {
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(n); err != nil {
		panic(err) // the node was read, or made here
	}
	return b.String()
}

// clean removes what only Helm sets.
func (o object) clean() {
	for _, at := range [][]string{{"metadata", "labels"}, {"spec", "template", "metadata", "labels"}} {
		for _, label := range []string{"helm.sh/chart", "app.kubernetes.io/managed-by"} {
			o.remove(append(slices.Clone(at), label)...)
		}
	}
}

func (o object) kind() string { return o.text("kind") }

// of reports whether the object belongs to a component.
func (o object) of(component string) bool {
	return strings.HasPrefix(o.text("metadata", "labels", "app.kubernetes.io/component"), component)
}

// at is the value at a path of keys, or nil.
func (o object) at(keys ...string) *yaml.Node {
	n := o.node
	for _, key := range keys {
		i := index(n, key)
		if i < 0 {
			return nil
		}
		n = n.Content[i+1]
	}
	return n
}

func (o object) text(keys ...string) string {
	if n := o.at(keys...); n != nil {
		return n.Value
	}
	return ""
}

func (o object) remove(keys ...string) {
	last := len(keys) - 1
	n := o.at(keys[:last]...)
	if i := index(n, keys[last]); i >= 0 {
		n.Content = slices.Delete(n.Content, i, i+2)
	}
}

// set sets a text, in a map that is there.
func (o object) set(value string, keys ...string) {
	o.remove(keys...)
	last := len(keys) - 1
	n := o.at(keys[:last]...)
	n.Content = append(n.Content, scalar(keys[last]), scalar(value))
}

// part is a patch: the object's kind and name, and of its spec what is at the paths, joined by dots.
func (o object) part(paths ...string) object {
	out := object{&yaml.Node{Kind: yaml.MappingNode}}
	out.with([]string{"apiVersion"}, o.at("apiVersion")).with([]string{"kind"}, o.at("kind")).with([]string{"metadata", "name"}, o.at("metadata", "name"))
	for _, path := range paths {
		keys := append([]string{"spec"}, strings.Split(path, ".")...)
		if n := o.at(keys...); n != nil {
			out.with(keys, n)
		}
	}
	return out
}

// with sets a value at a path, and makes the maps that it needs.
func (o object) with(keys []string, value *yaml.Node) object {
	n := o.node
	for i, key := range keys {
		at := index(n, key)
		if at < 0 {
			next := &yaml.Node{Kind: yaml.MappingNode}
			if i == len(keys)-1 {
				next = value
			}
			n.Content = append(n.Content, scalar(key), next)
			at = len(n.Content) - 2
		}
		n = n.Content[at+1]
	}
	return o
}

// operation is one of a JSON patch.
func operation(op, path string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("op"), scalar(op), scalar("path"), scalar(path), scalar("value"), value}}
}

func list(elements ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Content: elements}
}

func scalar(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// index is where a key of a map is, or -1.
func index(n *yaml.Node, key string) int {
	if n == nil || n.Kind != yaml.MappingNode {
		return -1
	}
	for i := 0; i < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i
		}
	}
	return -1
}
