package edit

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// Table is a TOML text.
type Table struct {
	mark, body []byte
	values     map[string]any
	exprs      []expr
}

// expr is a table's header, or a key with its value.
type expr struct {
	header bool
	// array tells a header of an array of tables.
	array bool
	// path is the full one.
	path []string
	// from and to are those of a header's path, or of the whole key and value.
	from, to int
	// value is where a string stands as a value; nil for other values.
	value *splice
}

// ReadTOML reads a text.
func ReadTOML(text []byte) (*Table, error) {
	t := &Table{values: map[string]any{}}
	t.mark, t.body = cutBOM(text)
	if err := toml.Unmarshal(t.body, &t.values); err != nil {
		if decode, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, column := decode.Position()
			return nil, &SyntaxError{Line: line, Column: max(1, column), Msg: strings.TrimPrefix(decode.Error(), "toml: ")}
		}
		return nil, at(t.body, 0, "%s", err.Error())
	}
	var p unstable.Parser
	p.Reset(t.body)
	var table []string
	for p.NextExpression() {
		e, ok := read(p.Expression(), table)
		if !ok {
			continue
		}
		if e.header {
			table = e.path
		}
		t.exprs = append(t.exprs, e)
	}
	if err := p.Error(); err != nil {
		return nil, at(t.body, 0, "%s", err.Error())
	}
	return t, nil
}

// read takes what is needed from an expression, whose memory the parser uses again.
func read(n *unstable.Node, table []string) (expr, bool) {
	e := expr{header: n.Kind != unstable.KeyValue, array: n.Kind == unstable.ArrayTable}
	switch n.Kind {
	case unstable.KeyValue:
		e.path = slices.Clone(table)
	case unstable.Table, unstable.ArrayTable:
	default:
		return e, false
	}
	e.from = -1
	for it := n.Key(); it.Next(); {
		key := it.Node()
		e.path = append(e.path, string(key.Data))
		if e.from < 0 {
			e.from = int(key.Raw.Offset)
		}
		e.to = int(key.Raw.Offset + key.Raw.Length)
	}
	if n.Kind == unstable.KeyValue {
		e.to = max(e.to, int(n.Raw.Offset+n.Raw.Length))
		if v := n.Value(); v.Kind == unstable.String {
			e.value = &splice{from: int(v.Raw.Offset), to: int(v.Raw.Offset + v.Raw.Length)}
		}
	}
	return e, true
}

// Get is the value at a path, nil where there is none.
func (t *Table) Get(path ...string) any {
	var v any = t.values
	for _, key := range path {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[key]
	}
	return v
}

// SetString sets the string at a path, in its table if the text has that, else in a new one at the end.
func (t *Table) SetString(value string, path ...string) ([]byte, error) {
	if t.Get(path...) == value {
		return apply(t.mark, t.body), nil
	}
	table, key := path[:len(path)-1], path[len(path)-1]
	line := tomlKey(key) + " = " + tomlString(value)
	s := splice{len(t.body), len(t.body), ""}
	if i := slices.IndexFunc(t.exprs, func(e expr) bool { return !e.header && slices.Equal(e.path, path) }); i >= 0 {
		if t.exprs[i].value == nil {
			return nil, at(t.body, t.exprs[i].from, "%s should be a string", key)
		}
		s = *t.exprs[i].value
		s.text = tomlString(value)
		if t.body[s.from] == '\'' {
			s.text = "'" + value + "'"
		}
	} else if i := slices.IndexFunc(t.exprs, func(e expr) bool { return e.header && slices.Equal(e.path, table) }); i >= 0 {
		if t.exprs[i].array {
			return nil, at(t.body, t.exprs[i].from, "%s should be a table", strings.Join(table, "."))
		}
		s.from = lineEnd(t.body, t.exprs[i].to)
		s.to = s.from
		in := indent(t.body, t.exprs[i].from) + "  "
		if i+1 < len(t.exprs) && !t.exprs[i+1].header {
			in = indent(t.body, t.exprs[i+1].from)
		}
		s.text = lines(t.body, s.from, in+line)
	} else {
		s.text = lines(t.body, s.from, t.blank("["+tomlPath(table)+"]", "  "+line)...)
	}
	want := set(t.values, value, path)
	return t.checked(apply(t.mark, t.body, s), want)
}

// ErrBehind says that a table is there already, but not as the first of its kind.
var ErrBehind = errors.New("it is there already, but behind others")

// PrependTable makes [kind."name"] the first of the text's tables of the kind, with the lines given. It returns the text as it is where
// that table is the first already, and ErrBehind where it is another than the first.
func (t *Table) PrependTable(kind, name string, content ...string) ([]byte, error) {
	var names []string
	first := -1
	for i, e := range t.exprs {
		if e.path[0] != kind {
			continue
		}
		if first < 0 {
			first = i
		}
		if len(e.path) > 1 && !slices.Contains(names, e.path[1]) {
			names = append(names, e.path[1])
		}
	}
	if i := slices.IndexFunc(names, func(s string) bool { return sameURL(s, name) }); i == 0 {
		return apply(t.mark, t.body), nil
	} else if i > 0 {
		return nil, ErrBehind
	}
	block := []string{"[" + tomlPath([]string{kind, name}) + "]"}
	for _, line := range content {
		block = append(block, "  "+line)
	}
	var added map[string]any
	if err := toml.Unmarshal([]byte(strings.Join(content, "\n")), &added); err != nil {
		return nil, fmt.Errorf("read the new table: %w", err)
	}
	s := splice{len(t.body), len(t.body), ""}
	if first < 0 {
		s.text = lines(t.body, s.from, t.blank(block...)...)
	} else {
		if !t.exprs[first].header {
			return nil, at(t.body, t.exprs[first].from, "%s is written as a value and not as tables; write it as [%s.\"…\"]", kind, kind)
		}
		s.from = t.above(first)
		s.to = s.from
		s.text = lines(t.body, s.from, append(block, "")...)
	}
	return t.checked(apply(t.mark, t.body, s), set(t.values, added, []string{kind, name}))
}

// blank puts an empty line above lines at the end of the text.
func (t *Table) blank(all ...string) []string {
	if len(t.body) == 0 {
		return all
	}
	return append([]string{""}, all...)
}

// above is the beginning of the lines of an expression, and of the comment right above it.
func (t *Table) above(i int) int {
	from := lineStart(t.body, t.exprs[i].from)
	least := 0
	if i > 0 {
		least = lineEnd(t.body, t.exprs[i-1].to)
	}
	for from > least {
		above := lineStart(t.body, from-1)
		if above < least || !strings.HasPrefix(strings.TrimLeft(string(t.body[above:from]), " \t"), "#") {
			break
		}
		from = above
	}
	return from
}

// checked is the text, if it means what is wanted.
func (t *Table) checked(text []byte, want map[string]any) ([]byte, error) {
	got, err := ReadTOML(text)
	if err != nil || !reflect.DeepEqual(got.values, want) {
		return nil, errElse
	}
	return text, nil
}

// set is a copy of m with the value at the path.
func set(m map[string]any, value any, path []string) map[string]any {
	top := maps.Clone(m)
	out := top
	for i, key := range path {
		if i == len(path)-1 {
			out[key] = value
			break
		}
		inner, _ := out[key].(map[string]any)
		inner = maps.Clone(inner)
		if inner == nil {
			inner = map[string]any{}
		}
		out[key] = inner
		out = inner
	}
	return top
}

var bare = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func tomlKey(key string) string {
	if bare.MatchString(key) {
		return key
	}
	return tomlString(key)
}

func tomlPath(path []string) string {
	quoted := make([]string, len(path))
	for i, key := range path {
		quoted[i] = tomlKey(key)
	}
	return strings.Join(quoted, ".")
}

// tomlString quotes paths and URLs, which hold nothing to escape but what %q escapes as TOML does.
func tomlString(s string) string { return fmt.Sprintf("%q", s) }
