package edit

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Mirrors is a registries.yaml of k3s or rke2: https://docs.k3s.io/installation/private-registry
type Mirrors struct {
	*yamlText
	mirrors map[string]any
}

// ReadMirrors reads a text.
func ReadMirrors(text []byte) (*Mirrors, error) {
	t, err := readYAML(text)
	if err != nil {
		return nil, err
	}
	m := &Mirrors{yamlText: t}
	if t.root == nil || isNull(t.root) {
		return m, nil
	}
	if t.root.Kind != yaml.MappingNode {
		return nil, refuse(t.root, "a mapping is wanted")
	}
	if _, v := child(t.root, "mirrors"); v != nil && !isNull(v) {
		if v.Kind != yaml.MappingNode {
			return nil, refuse(v, "mirrors should be a mapping")
		}
		m.mirrors, _ = m.top()["mirrors"].(map[string]any)
	}
	return m, nil
}

func (m *Mirrors) top() map[string]any {
	top, _ := m.values.(map[string]any)
	return top
}

// Names are the registries that have an entry, in order.
func (m *Mirrors) Names() []string { return slices.Sorted(maps.Keys(m.mirrors)) }

// Rewrites tells whether an entry changes the paths that its endpoints are asked for.
func (m *Mirrors) Rewrites(name string) bool {
	entry, _ := m.mirrors[name].(map[string]any)
	return entry["rewrite"] != nil
}

// Credentials are the registries that the file has credentials for, in order.
func (m *Mirrors) Credentials() []string {
	configs, _ := m.top()["configs"].(map[string]any)
	var all []string
	for name, v := range configs {
		if entry, _ := v.(map[string]any); entry["auth"] != nil {
			all = append(all, name)
		}
	}
	return slices.Sorted(slices.Values(all))
}

// endpoints of an entry, as far as they are strings.
func (m *Mirrors) endpoints(name string) []string {
	entry, _ := m.mirrors[name].(map[string]any)
	list, _ := entry["endpoint"].([]any)
	var all []string
	for _, v := range list {
		s, _ := v.(string)
		all = append(all, s)
	}
	return all
}

// Prepend makes url the first endpoint of the named registries, with new entries where there are none. Where it is an endpoint already,
// first or not, the entry stays.
func (m *Mirrors) Prepend(url string, names ...string) ([]byte, error) {
	var old, added []string
	for _, name := range names {
		switch _, ok := m.mirrors[name]; {
		case !ok:
			added = append(added, name)
		case !slices.ContainsFunc(m.endpoints(name), func(s string) bool { return sameURL(s, url) }):
			old = append(old, name)
		}
	}
	var splices []splice
	key, mirrors := child(m.root, "mirrors")
	for _, name := range old {
		s, err := m.prependTo(mirrors, name, url)
		if err != nil {
			return nil, err
		}
		splices = append(splices, s)
	}
	if len(added) > 0 {
		s, err := m.add(key, mirrors, url, added)
		if err != nil {
			return nil, err
		}
		splices = append(splices, s)
	}
	out := apply(m.mark, m.body, splices...)
	now, err := readYAML(out)
	if err != nil || !reflect.DeepEqual(now.values, m.wanted(url, old, added)) {
		return nil, errElse
	}
	return out, nil
}

// add makes new entries.
func (m *Mirrors) add(key, mirrors *yaml.Node, url string, names []string) (splice, error) {
	var block, entries []string
	for _, name := range names {
		block = append(block, fmt.Sprintf("%q:", name), "  endpoint:", fmt.Sprintf("    - %q", url))
		entries = append(entries, fmt.Sprintf("%q: {endpoint: [%q]}", name, url))
	}
	flow := strings.Join(entries, ", ")
	switch {
	case mirrors == nil && m.root != nil && isFlow(m.root):
		return m.insertFlow(m.root, "mirrors: {"+flow+"}")
	case mirrors == nil:
		in := ""
		if m.root != nil && !isNull(m.root) {
			in = fmt.Sprintf("%*s", m.root.Column-1, "")
		}
		text := []string{in + "mirrors:"}
		for _, line := range block {
			text = append(text, in+"  "+line)
		}
		return splice{len(m.body), len(m.body), lines(m.body, len(m.body), text...)}, nil
	case isFlow(mirrors):
		return m.insertFlow(mirrors, flow)
	case isNull(mirrors) && mirrors.Value != "":
		return m.replaceNull(mirrors, "{"+flow+"}")
	}
	return m.insertUnder(key, mirrors, block...)
}

// prependTo changes an entry.
func (m *Mirrors) prependTo(mirrors *yaml.Node, name, url string) (splice, error) {
	key, entry := child(mirrors, name)
	if entry == nil {
		return splice{}, refuse(mirrors, "the entry "+name+" cannot be edited; edit it by hand")
	}
	item := fmt.Sprintf("%q", url)
	endpointKey, endpoint := child(entry, "endpoint")
	switch {
	case isNull(entry) && entry.Value != "":
		return m.replaceNull(entry, "{endpoint: ["+item+"]}")
	case isNull(entry) && !isFlow(mirrors):
		return m.insertUnder(key, entry, "endpoint:", "  - "+item)
	case entry.Kind != yaml.MappingNode:
		return splice{}, refuse(entry, "the entry "+name+" should be a mapping")
	case endpoint == nil && isFlow(entry):
		return m.insertFlow(entry, "endpoint: ["+item+"]")
	case endpoint == nil:
		return m.insertUnder(key, entry, "endpoint:", "  - "+item)
	case isNull(endpoint) && endpoint.Value != "":
		return m.replaceNull(endpoint, "["+item+"]")
	case isNull(endpoint) && !isFlow(entry):
		return m.insertUnder(endpointKey, endpoint, "- "+item)
	case endpoint.Kind != yaml.SequenceNode:
		return splice{}, refuse(endpoint, "endpoint should be a list")
	case isFlow(endpoint):
		return m.insertFlow(endpoint, item)
	}
	return m.insertItem(endpoint, item)
}

// replaceNull puts text where null is written out.
func (m *Mirrors) replaceNull(n *yaml.Node, text string) (splice, error) {
	from := m.offset(n)
	if from < 0 {
		return splice{}, refuse(n, "this cannot be edited; edit it by hand")
	}
	return splice{from, min(len(m.body), from+len(n.Value)), text}, nil
}

// wanted is what the edited text should mean.
func (m *Mirrors) wanted(url string, old, added []string) any {
	if len(old)+len(added) == 0 {
		return m.values
	}
	top, mirrors := maps.Clone(m.top()), maps.Clone(m.mirrors)
	if top == nil {
		top = map[string]any{}
	}
	if mirrors == nil {
		mirrors = map[string]any{}
	}
	top["mirrors"] = mirrors
	for _, name := range slices.Concat(old, added) {
		entry, _ := mirrors[name].(map[string]any)
		entry = maps.Clone(entry)
		if entry == nil {
			entry = map[string]any{}
		}
		list, _ := entry["endpoint"].([]any)
		entry["endpoint"] = append([]any{url}, list...)
		mirrors[name] = entry
	}
	return top
}
