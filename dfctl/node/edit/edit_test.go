package edit

import (
	"bytes"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const mirror = "http://127.0.0.1:65001"

// row is a text before and after, or the error.
type row struct{ in, out, err string }

func check(t *testing.T, rows map[string]row, edit func([]byte) ([]byte, error)) {
	t.Helper()
	for name, r := range rows {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := edit([]byte(r.in))
			if r.err != "" {
				if err == nil || !strings.Contains(err.Error(), r.err) {
					t.Fatalf("of %q got %q and error %v, want an error with %q", r.in, got, err, r.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(r.out, string(got)); diff != "" {
				t.Errorf("of %q (-want +got):\n%s", r.in, diff)
			}
			again, err := edit(got)
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("the second time: got %q, %v, want it unchanged", again, err)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	t.Parallel()
	check(t, map[string]row{
		"an empty file":                        {"", "{\n  \"m\": [\"" + mirror + "\"]\n}\n", ""},
		"blanks only":                          {" \n", "{\n  \"m\": [\"" + mirror + "\"]\n}\n", ""},
		"an empty object":                      {"{}\n", "{\n  \"m\": [\"" + mirror + "\"]\n}\n", ""},
		"an empty object with blanks":          {"{ \n }", "{\n  \"m\": [\"" + mirror + "\"]\n}", ""},
		"one line":                             {`{"a": 1}`, `{"a": 1, "m": ["` + mirror + `"]}`, ""},
		"compact":                              {`{"a":1,"b":[]}`, `{"a":1,"b":[],"m":["` + mirror + `"]}`, ""},
		"tabs":                                 {"{\n\t\"a\": 1\n}\n", "{\n\t\"a\": 1,\n\t\"m\": [\"" + mirror + "\"]\n}\n", ""},
		"odd spaces":                           {"{\n    \"a\" : 1 ,\n  \"b\":2\n }", "{\n    \"a\" : 1 ,\n  \"b\":2,\n    \"m\" : [\"" + mirror + "\"]\n }", ""},
		"line ends of Windows":                 {"{\r\n  \"a\": 1\r\n}\r\n", "{\r\n  \"a\": 1,\r\n  \"m\": [\"" + mirror + "\"]\r\n}\r\n", ""},
		"a byte order mark":                    {"\ufeff{}", "\ufeff{\n  \"m\": [\"" + mirror + "\"]\n}", ""},
		"others in the array":                  {`{"m": ["https://a"]}`, `{"m": ["` + mirror + `", "https://a"]}`, ""},
		"others in the array, compact":         {`{"m":["https://a"]}`, `{"m":["` + mirror + `","https://a"]}`, ""},
		"others in the array, one a line":      {"{\n  \"m\": [\n    \"https://a\"\n  ]\n}", "{\n  \"m\": [\n    \"" + mirror + "\",\n    \"https://a\"\n  ]\n}", ""},
		"an empty array":                       {`{"m": [ ], "z": 0}`, `{"m": ["` + mirror + `"], "z": 0}`, ""},
		"null":                                 {`{"m": null}`, `{"m": ["` + mirror + `"]}`, ""},
		"first already, with a slash":          {`{"m": ["` + mirror + `/", "https://a"]}`, `{"m": ["` + mirror + `/", "https://a"]}`, ""},
		"behind others":                        {`{"m": ["https://a", "` + mirror + `", "https://b"]}`, `{"m": ["` + mirror + `", "https://a", "https://b"]}`, ""},
		"foreign keys twice, odd numbers":      {`{"a": 1e400, "a": 10000000000000000000000, "m": []}`, `{"a": 1e400, "a": 10000000000000000000000, "m": ["` + mirror + `"]}`, ""},
		"escapes in foreign keys stay":         {`{"\u0061": "\u003c/"}`, `{"\u0061": "\u003c/", "m": ["` + mirror + `"]}`, ""},
		"the key is twice":                     {"{\"m\": [],\n \"m\": []}", "", `line 2, column 2: "m" is here a second time`},
		"the key is a string":                  {`{"m": "x"}`, "", `line 1, column 7: "m" should be an array of strings`},
		"numbers in the array":                 {"{\"m\": [\"ä\", 3]}", "", `line 1, column 13: "m" should be`},
		"null in the array":                    {`{"m": [null]}`, "", `line 1, column 8: "m" should be`},
		"an array":                             {"\n[]", "", "line 2, column 1: an object is wanted, not array"},
		"null at the top":                      {"null", "", "an object is wanted, not null"},
		"a comma too many":                     {"{\n  \"a\": 1,\n}", "", "line 3, column 1: invalid character '}'"},
		"a comment":                            {"{\n  // x\n}", "", "line 2, column 3: invalid character '/'"},
		"cut off":                              {"{\n  \"a\": [1,\n", "", "line 2, column 11: unexpected end of JSON input"},
		"two objects":                          {"{} {}", "", "line 1, column 4: invalid character '{' after top-level value"},
		"the key is another by case":           {`{"M": 1}`, `{"M": 1, "m": ["` + mirror + `"]}`, ""},
		"the text of the key within a value":   {`{"a": {"m": ["x"]}}`, `{"a": {"m": ["x"]}, "m": ["` + mirror + `"]}`, ""},
		"nothing but a byte order mark":        {"\ufeff", "\ufeff{\n  \"m\": [\"" + mirror + "\"]\n}\n", ""},
		"UTF-16":                               {"\xff\xfe{\x00}\x00", "", "line 1, column 1: invalid character"},
		"a quote in the key, a brace in value": {`{"{": "}"}`, `{"{": "}", "m": ["` + mirror + `"]}`, ""},
	}, func(text []byte) ([]byte, error) { return PrependJSON(text, "m", mirror) })
}

func TestTOMLStrings(t *testing.T) {
	t.Parallel()
	check(t, map[string]row{
		"an empty file":            {"", "[plugins.\"x.y\".registry]\n  config_path = \"/etc/certs.d\"\n", ""},
		"no end of the last line":  {"version = 2", "version = 2\n\n[plugins.\"x.y\".registry]\n  config_path = \"/etc/certs.d\"\n", ""},
		"the table without it":     {"[plugins.'x.y'.registry] # here\n\n[b]\n", "[plugins.'x.y'.registry] # here\n  config_path = \"/etc/certs.d\"\n\n[b]\n", ""},
		"as its neighbours":        {"[plugins.'x.y'.registry]\n\ta = 1\n", "[plugins.'x.y'.registry]\n\tconfig_path = \"/etc/certs.d\"\n\ta = 1\n", ""},
		"indented":                 {"    [plugins.\"x.y\".registry]", "    [plugins.\"x.y\".registry]\n      config_path = \"/etc/certs.d\"\n", ""},
		"empty":                    {"[plugins.\"x.y\".registry]\n  config_path = \"\" # none\n", "[plugins.\"x.y\".registry]\n  config_path = \"/etc/certs.d\" # none\n", ""},
		"empty, in single quotes":  {"[plugins.\"x.y\".registry]\nconfig_path = ''\n", "[plugins.\"x.y\".registry]\nconfig_path = '/etc/certs.d'\n", ""},
		"a dotted key":             {"plugins.\"x.y\".registry.config_path = \"\"\n", "plugins.\"x.y\".registry.config_path = \"/etc/certs.d\"\n", ""},
		"line ends of Windows":     {"a = 1\r\n", "a = 1\r\n\r\n[plugins.\"x.y\".registry]\r\n  config_path = \"/etc/certs.d\"\r\n", ""},
		"a byte order mark":        {"\ufeffa = 1\n", "\ufeffa = 1\n\n[plugins.\"x.y\".registry]\n  config_path = \"/etc/certs.d\"\n", ""},
		"a header within a string": {"a = '''\n[plugins.\"x.y\".registry]\n'''\n", "a = '''\n[plugins.\"x.y\".registry]\n'''\n\n[plugins.\"x.y\".registry]\n  config_path = \"/etc/certs.d\"\n", ""},
		"an inline table":          {"plugins = {\"x.y\" = {registry = {}}}\n", "", "edit it by hand"},
		"a number":                 {"[plugins.\"x.y\".registry]\nconfig_path = 3\n", "", "line 2, column 1: config_path should be a string"},
		"an array of tables":       {"[[plugins.\"x.y\".registry]]\n", "", "should be a table"},
		"not TOML":                 {"a = 1\nb = = 2\n", "", "line 2, column 5"},
		"a key twice":              {"a = 1\na = 2\n", "", "line 2"},
	}, func(text []byte) ([]byte, error) {
		table, err := ReadTOML(text)
		if err != nil {
			return nil, err
		}
		return table.SetString("/etc/certs.d", "plugins", "x.y", "registry", "config_path")
	})
}

func TestTOMLTables(t *testing.T) {
	t.Parallel()
	const ours = "[host.\"" + mirror + "\"]\n  capabilities = [\"pull\"]\n"
	check(t, map[string]row{
		"an empty file":     {"", ours, ""},
		"only a server":     {"server = \"https://a\"\n", "server = \"https://a\"\n\n" + ours, ""},
		"another host":      {"server = \"https://a\"\n\n# theirs\n[host.\"https://b\"]\n", "server = \"https://a\"\n\n" + ours + "\n# theirs\n[host.\"https://b\"]\n", ""},
		"another at once":   {"[host.\"https://b\"]\n[host.\"https://b\".header]\n", ours + "\n[host.\"https://b\"]\n[host.\"https://b\".header]\n", ""},
		"a bare header":     {"[host]\n[host.\"https://b\"]\n", ours + "\n[host]\n[host.\"https://b\"]\n", ""},
		"first already":     {ours + "[host.\"https://b\"]\n", ours + "[host.\"https://b\"]\n", ""},
		"behind":            {"[host.\"https://b\"]\n" + ours, "", ErrBehind.Error()},
		"an inline table":   {"host = {\"https://b\" = {}}\n", "", "line 1, column 1: host is written as a value"},
		"a dotted key":      {"host.\"https://b\".skip_verify = true\n", "", "host is written as a value"},
		"a multi-line text": {"a = '''\n# x\n'''\n[host.\"https://b\"]\n", "a = '''\n# x\n'''\n" + ours + "\n[host.\"https://b\"]\n", ""},
	}, func(text []byte) ([]byte, error) {
		table, err := ReadTOML(text)
		if err != nil {
			return nil, err
		}
		return table.PrependTable("host", mirror, `capabilities = ["pull"]`)
	})
}

func TestYAML(t *testing.T) {
	t.Parallel()
	const star = "mirrors:\n  \"*\":\n    endpoint:\n      - \"" + mirror + "\"\n"
	const item = `"` + mirror + `"`
	check(t, map[string]row{
		"an empty file":               {"", star, ""},
		"comments only":               {"# none\n", "# none\n" + star, ""},
		"a begun document":            {"---\n", "---\n" + star, ""},
		"other keys":                  {"configs:\n  a: {}", "configs:\n  a: {}\n" + star, ""},
		"all indented":                {"  configs: {}\n", "  configs: {}\n  mirrors:\n    \"*\":\n      endpoint:\n        - " + item + "\n", ""},
		"nothing under mirrors":       {"mirrors: # none\nconfigs: {}\n", "mirrors: # none\n  \"*\":\n    endpoint:\n      - " + item + "\nconfigs: {}\n", ""},
		"mirrors is null":             {"mirrors: ~\n", "mirrors: {\"*\": {endpoint: [" + item + "]}}\n", ""},
		"another registry":            {"mirrors:\n    docker.io:\n        endpoint: [https://a]\n", "mirrors:\n    \"*\":\n      endpoint:\n        - " + item + "\n    docker.io:\n        endpoint: [https://a]\n", ""},
		"in braces":                   {"{configs: {}}\n", "{mirrors: {\"*\": {endpoint: [" + item + "]}}, configs: {}}\n", ""},
		"mirrors in braces":           {"mirrors: {a: {endpoint: [b]}}\n", "mirrors: {\"*\": {endpoint: [" + item + "]}, a: {endpoint: [b]}}\n", ""},
		"mirrors in empty braces":     {"mirrors: {}\n", "mirrors: {\"*\": {endpoint: [" + item + "]}}\n", ""},
		"an entry with nothing":       {"mirrors:\n  \"*\":\n  a:\n", "mirrors:\n  \"*\":\n    endpoint:\n      - " + item + "\n  a:\n", ""},
		"an entry with null":          {"mirrors:\n  \"*\": null # x\n", "mirrors:\n  \"*\": {endpoint: [" + item + "]} # x\n", ""},
		"an entry with items":         {"mirrors:\n  '*':\n    endpoint:\n    # first\n    -   https://a # x\n", "mirrors:\n  '*':\n    endpoint:\n    # first\n    -   " + item + "\n    -   https://a # x\n", ""},
		"an entry with items in []":   {"mirrors:\n  \"*\": {endpoint: [ https://a ]}\n", "mirrors:\n  \"*\": {endpoint: [" + item + ",  https://a ]}\n", ""},
		"an entry without endpoints":  {"mirrors:\n  \"*\":\n    rewrite:\n      a: b\n", "mirrors:\n  \"*\":\n    endpoint:\n      - " + item + "\n    rewrite:\n      a: b\n", ""},
		"an entry with {}":            {"mirrors:\n  \"*\": {}\n", "mirrors:\n  \"*\": {endpoint: [" + item + "]}\n", ""},
		"an endpoint with nothing":    {"mirrors:\n  \"*\":\n    endpoint:\n", "mirrors:\n  \"*\":\n    endpoint:\n      - " + item + "\n", ""},
		"first already, with a slash": {"mirrors: {\"*\": {endpoint: [\"" + mirror + "/\"]}}\n", "mirrors: {\"*\": {endpoint: [\"" + mirror + "/\"]}}\n", ""},
		"line ends of Windows":        {"mirrors:\r\n  a:\r\n", "mirrors:\r\n  \"*\":\r\n    endpoint:\r\n      - " + item + "\r\n  a:\r\n", ""},
		"a byte order mark":           {"\ufeffa: 1\n", "\ufeffa: 1\n" + star, ""},
		"letters beyond ASCII":        {"mirrors: {ä: {}, \"*\": {endpoint: [ö]}}\n", "mirrors: {ä: {}, \"*\": {endpoint: [" + item + ", ö]}}\n", ""},
		"an alias":                    {"x: &x {endpoint: [a]}\nmirrors:\n  \"*\": *x\n", "", "line 3, column 8"},
		"a text for a list":           {"mirrors:\n  \"*\":\n    endpoint: https://a\n", "", "line 3, column 15: endpoint should be a list"},
		"a list for mirrors":          {"mirrors:\n  - a\n", "", "line 2, column 3: mirrors should be a mapping"},
		"a list":                      {"- a\n", "", "line 1, column 1: a mapping is wanted"},
		"an ended document":           {"a: 1\n...\n", "", "edit it by hand"},
		"two documents":               {"a: 1\n---\nb: 1\n", "", "line 2, column 1: a second document begins here"},
		"not YAML":                    {"a: 1\n b: [\n", "", "line 2, column"},
		"a key twice":                 {"a: 1\na: 2\n", "", "line 2, column 1: mapping key \"a\" already defined"},
		"tabs":                        {"mirrors:\n\ta: 1\n", "", "line 2, column 2: found character that cannot start any token"},
	}, func(text []byte) ([]byte, error) {
		m, err := ReadMirrors(text)
		if err != nil {
			return nil, err
		}
		return m.Prepend(mirror, "*")
	})
}

// errors that are not about a place are those about the text as a whole.
func plausible(t *testing.T, text []byte, err error) {
	t.Helper()
	if syntax, ok := errors.AsType[*SyntaxError](err); ok {
		if lines := bytes.Count(text, []byte("\n")) + 1; syntax.Line < 1 || syntax.Column < 1 || syntax.Line > 2*lines+bytes.Count(text, []byte("\r"))+len(text) {
			t.Errorf("of %q: %v, but it has %d lines", text, err, lines)
		}
	} else if !errors.Is(err, errElse) && !errors.Is(err, ErrBehind) {
		t.Errorf("of %q: %v says no place", text, err)
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range []string{"", "{}", `{"a":1,"m":["x"]}`, "\ufeff{\r\n \"m\" : [ ]}", `{"m":["http://127.0.0.1:65001/"]}`, "{\"a\"\n:\t1}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		twice(t, text, func(text []byte) ([]byte, error) { return PrependJSON(text, "m", mirror) })
	})
}

func FuzzTOML(f *testing.F) {
	for _, s := range []string{"", "server = 'x'\n[host.\"a\"]\n", "[host]\n", "host.a.b = 1", "a = '''\n[host.a]\n'''", "[[host]]\n", "[registry]\nconfig_path = ''"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		twice(t, text, func(text []byte) ([]byte, error) {
			table, err := ReadTOML(text)
			if err != nil {
				return nil, err
			}
			return table.PrependTable("host", mirror, `capabilities = ["pull"]`)
		})
		twice(t, text, func(text []byte) ([]byte, error) {
			table, err := ReadTOML(text)
			if err != nil {
				return nil, err
			}
			return table.SetString("/d", "registry", "config_path")
		})
	})
}

func FuzzYAML(f *testing.F) {
	for _, s := range []string{"", "mirrors:\n", "mirrors: {a: }", "mirrors:\n  \"*\":\n    endpoint:\n    - a\n", "{}", "a: &a\nb: *a", "? a\n: b", "--- !x\n", "a: |\n  b"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		twice(t, text, func(text []byte) ([]byte, error) {
			m, err := ReadMirrors(text)
			if err != nil {
				return nil, err
			}
			return m.Prepend(mirror, append(m.Names(), "*", "docker.io")...)
		})
	})
}

// replaces is what the editors put something in the place of, or move.
var replaces = regexp.MustCompile(`(?i)null|~|config_path|127\.0\.0\.1|\{\s*\}|\\u|"m"`)

// within reports whether text is left of part if something is taken out.
func within(text, part []byte) bool {
	for _, b := range text {
		if len(part) > 0 && part[0] == b {
			part = part[1:]
		}
	}
	return len(part) == 0
}

// twice edits a text twice: what was there stays in its order, letter by letter, and the second edit changes nothing. That nothing
// else has changed in meaning, the editors check themselves.
func twice(t *testing.T, text []byte, edit func([]byte) ([]byte, error)) {
	t.Helper()
	got, err := edit(text)
	if err != nil {
		plausible(t, text, err)
		return
	}
	if !replaces.Match(text) && !within(got, bytes.TrimRight(text, " \t\r\n")) {
		t.Errorf("of %q got %q, in which some of it is gone", text, got)
	}
	again, err := edit(got)
	if err != nil || !bytes.Equal(again, got) {
		t.Errorf("of %q got %q, and of that %q, %v", text, got, again, err)
	}
}

func TestRemoveJSON(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"a": 1, "m": ["` + mirror + `"]}`:              `{"a": 1}`,
		`{"m": ["` + mirror + `"], "a": 1}`:              `{"a": 1}`,
		`{ "m": ["` + mirror + `/"] }`:                   `{}`,
		`{"m": ["` + mirror + `", "https://a"]}`:         `{"m": ["https://a"]}`,
		`{"m": ["https://a", "` + mirror + `", "b"]}`:    `{"m": ["https://a", "b"]}`,
		`{"m": ["https://a"]}`:                           `{"m": ["https://a"]}`,
		`{"a": 1}`:                                       `{"a": 1}`,
		"":                                               "",
		"{\n  \"a\": 1,\n  \"m\": [\"" + mirror + "\"]}": "{\n  \"a\": 1}",
	} {
		got, err := RemoveJSON([]byte(text), "m", mirror, false)
		if err != nil || string(got) != want {
			t.Errorf("of %q got %q, %v, want %q", text, got, err, want)
		}
	}
	if got, err := RemoveJSON([]byte(`{"m": ["`+mirror+`"]}`), "m", mirror, true); err != nil || string(got) != `{"m": []}` {
		t.Errorf("an array that is kept: got %q, %v", got, err)
	}
}
