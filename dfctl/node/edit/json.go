package edit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// member is a key and its value in the text of an object, or an element of an array, which has no key.
type member struct {
	key                              string
	keyFrom, keyTo, valFrom, valueTo int
}

func (m member) raw(body []byte) []byte { return body[m.valFrom:m.valueTo] }

// PrependJSON makes value the first in the array of strings that the text's top-level object has under key. The array is made where
// there is none; the value is moved where it stands behind others.
func PrependJSON(text []byte, key, value string) ([]byte, error) {
	mark, body := cutBOM(text)
	if blank(body) {
		return append(slices.Clone(mark), fmt.Sprintf("{\n  %q: [%q]\n}\n", key, value)...), nil
	}
	members, err := readObject(body)
	if err != nil {
		return nil, err
	}
	i, err := only(body, members, key)
	if err != nil {
		return nil, err
	}
	var out []byte
	if i < 0 {
		out = apply(mark, body, newMember(body, members, key, value))
	} else {
		splices, err := newElement(body, members, i, value)
		if err != nil || splices == nil {
			return text, err
		}
		out = apply(mark, body, splices...)
	}
	return out, sameJSON(body, out[len(mark):], members, key, value)
}

// JSONStrings reads the array of strings under a key of the text's top-level object, nil where there is none.
func JSONStrings(text []byte, key string) ([]string, error) {
	_, body := cutBOM(text)
	if blank(body) {
		return nil, nil
	}
	members, err := readObject(body)
	if err != nil {
		return nil, err
	}
	i, err := only(body, members, key)
	if err != nil || i < 0 {
		return nil, err
	}
	all, _, err := stringsOf(body, members[i])
	return all, err
}

// only finds the one member with the key, -1 where there is none.
func only(body []byte, members []member, key string) (int, error) {
	has := func(m member) bool { return m.key == key }
	i := slices.IndexFunc(members, has)
	if i >= 0 {
		if j := slices.IndexFunc(members[i+1:], has); j >= 0 {
			return 0, at(body, members[i+1+j].keyFrom, "%q is here a second time; remove one", key)
		}
	}
	return i, nil
}

// readObject lists the members of the text's object.
func readObject(body []byte) ([]member, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(body, &top); err != nil {
		return nil, located(body, err)
	}
	if top == nil {
		return nil, at(body, 0, "an object is wanted, not null")
	}
	return readMembers(body, true)
}

func located(body []byte, err error) error {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		// The offset counts the bytes read, the last of which is the wrong one; at the end of the text there is none.
		offset := int(syntax.Offset) - 1
		if strings.HasPrefix(syntax.Error(), "unexpected end") {
			offset = len(bytes.TrimRight(body, " \t\r\n"))
		}
		return at(body, offset, "%s", syntax.Error())
	}
	if kind, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return at(body, len(body)-len(bytes.TrimLeft(body, " \t\r\n")), "an object is wanted, not %s", kind.Value)
	}
	return at(body, 0, "%s", err.Error())
}

// readMembers lists the members of an object or the elements of an array; body is valid.
func readMembers(body []byte, object bool) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	var all []member
	if _, err := dec.Token(); err != nil {
		return nil, located(body, err)
	}
	for dec.More() {
		var m member
		if object {
			from := int(dec.InputOffset())
			key, err := dec.Token()
			if err != nil {
				return nil, located(body, err)
			}
			m.key, _ = key.(string)
			m.keyTo = int(dec.InputOffset())
			m.keyFrom = from + bytes.IndexByte(body[from:], '"')
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, located(body, err)
		}
		m.valueTo = int(dec.InputOffset())
		m.valFrom = m.valueTo - len(raw)
		all = append(all, m)
	}
	if _, err := dec.Token(); err != nil && !errors.Is(err, io.EOF) {
		return nil, located(body, err)
	}
	return all, nil
}

// stringsOf reads an array of strings, and where its elements stand in the text. Null counts as an empty one.
func stringsOf(body []byte, m member) ([]string, []member, error) {
	raw := m.raw(body)
	if string(raw) == "null" {
		return nil, nil, nil
	}
	if raw[0] != '[' {
		return nil, nil, at(body, m.valFrom, "%q should be an array of strings", m.key)
	}
	elements, err := readMembers(raw, false)
	if err != nil {
		return nil, nil, err
	}
	all := make([]string, 0, len(elements))
	for i := range elements {
		e := &elements[i]
		e.valFrom, e.valueTo = e.valFrom+m.valFrom, e.valueTo+m.valFrom
		var s *string
		if err := json.Unmarshal(e.raw(body), &s); err != nil || s == nil {
			return nil, nil, at(body, e.valFrom, "%q should be an array of strings", m.key)
		}
		all = append(all, *s)
	}
	return all, elements, nil
}

// newMember is the key with its array, behind the last member, written as the first member is.
func newMember(body []byte, members []member, key, value string) splice {
	nl := newline(body)
	if len(members) == 0 {
		open := bytes.IndexByte(body, '{')
		return splice{open + 1, bytes.LastIndexByte(body, '}'), fmt.Sprintf("%s  %q: [%q]%s", nl, key, value, nl)}
	}
	first, last := members[0], members[len(members)-1]
	before := string(body[bytes.IndexByte(body, '{')+1 : first.keyFrom])
	colon := string(body[first.keyTo:first.valFrom])
	if strings.Contains(colon, "\n") {
		colon = ": "
	}
	sep := " "
	if i := strings.LastIndex(before, "\n"); i >= 0 {
		sep = nl + before[i+1:]
	} else if strings.TrimSpace(colon) == colon {
		sep = ""
	}
	return splice{last.valueTo, last.valueTo, "," + sep + strconv.Quote(key) + colon + "[" + strconv.Quote(value) + "]"}
}

// newElement puts value first in the array of a member; nil where it is first already.
func newElement(body []byte, members []member, i int, value string) ([]splice, error) {
	m := members[i]
	all, elements, err := stringsOf(body, m)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return []splice{{m.valFrom, m.valueTo, "[" + strconv.Quote(value) + "]"}}, nil
	}
	var out []splice
	if j := slices.IndexFunc(all, func(s string) bool { return sameURL(s, value) }); j == 0 {
		return nil, nil
	} else if j > 0 {
		out = append(out, splice{elements[j-1].valueTo, elements[j].valueTo, ""})
	}
	sep := string(body[m.valFrom+1 : elements[0].valFrom])
	if !strings.Contains(sep, "\n") {
		sep = " "
		if m.valFrom == m.keyTo+1 { // no space behind the colon, so none behind the comma
			sep = ""
		}
	}
	first := elements[0].valFrom
	return append(out, splice{first, first, strconv.Quote(value) + "," + sep}), nil
}

// sameJSON checks that the new text has the old one's members, in their order and letter by letter, and the value first.
func sameJSON(before, after []byte, members []member, key, value string) error {
	now, err := readObject(after)
	if err != nil {
		return errElse
	}
	var was, is [][]byte
	for _, m := range members {
		if m.key != key {
			was = append(was, before[m.keyFrom:m.valueTo])
		}
	}
	for _, m := range now {
		if m.key != key {
			is = append(is, after[m.keyFrom:m.valueTo])
		}
	}
	i, err := only(after, now, key)
	if err != nil || i < 0 || !slices.EqualFunc(was, is, bytes.Equal) {
		return errElse
	}
	if all, _, err := stringsOf(after, now[i]); err != nil || !sameURL(all[0], value) {
		return errElse
	}
	return nil
}

// RemoveJSON takes value out of the array of strings under a key of the text's top-level object. An array that is empty then goes too,
// unless it is to be kept.
func RemoveJSON(text []byte, key, value string, keep bool) ([]byte, error) {
	mark, body := cutBOM(text)
	if blank(body) {
		return text, nil
	}
	members, err := readObject(body)
	if err != nil {
		return nil, err
	}
	i, err := only(body, members, key)
	if err != nil || i < 0 {
		return text, err
	}
	all, elements, err := stringsOf(body, members[i])
	if err != nil {
		return nil, err
	}
	j := slices.IndexFunc(all, func(s string) bool { return sameURL(s, value) })
	switch {
	case j < 0:
		return text, nil
	case len(all) > 1 || keep:
		return apply(mark, body, cut(elements, j)), nil
	}
	s := cut(members, i)
	if len(members) == 1 {
		s.from = bytes.IndexByte(body, '{') + 1
		s.to = bytes.LastIndexByte(body, '}')
	}
	return apply(mark, body, s), nil
}

// cut takes a member or an element out, with one comma.
func cut(all []member, i int) splice {
	from := func(m member) int {
		if m.key != "" || m.keyTo > 0 {
			return m.keyFrom
		}
		return m.valFrom
	}
	switch {
	case i > 0:
		return splice{all[i-1].valueTo, all[i].valueTo, ""}
	case len(all) > 1:
		return splice{from(all[0]), from(all[1]), ""}
	}
	return splice{from(all[0]), all[0].valueTo, ""}
}
