package helm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMerge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	first := file("first.yaml", "a: 1\nb: {c: x, d: w}\nlist: [1, 2]\n")
	second := file("second.yaml", "b: {c: z}\nlist: [3]\nempty:\n")
	type m = map[string]any
	for name, tc := range map[string]struct {
		sources Sources
		want    m
		err     string
	}{
		"nothing":       {Sources{}, m{}, ""},
		"an empty file": {Sources{Files: []string{file("empty", "")}}, m{}, ""},
		"a later file wins, in maps by key": {
			Sources{Files: []string{first, second}},
			m{"a": 1.0, "b": m{"c": "z", "d": "w"}, "list": []any{3.0}, "empty": nil},
			"",
		},
		"assignments win over files": {
			Sources{Files: []string{first}, Set: []string{"b.c=true,list[1]=5"}},
			m{"a": 1.0, "b": m{"c": true, "d": "w"}, "list": []any{1.0, int64(5)}},
			"",
		},
		"texts stay texts":              {Sources{Set: []string{"a=1"}, SetString: []string{"a=1"}}, m{"a": "1"}, ""},
		"standard input":                {Sources{Files: []string{"-"}, Stdin: strings.NewReader("a: b")}, m{"a": "b"}, ""},
		"null removes a value":          {Sources{Set: []string{"a=null"}}, m{"a": nil}, ""},
		"no standard input":             {Sources{Files: []string{"-"}}, nil, "there is no standard input"},
		"a file that there is not":      {Sources{Files: []string{filepath.Join(dir, "none")}}, nil, "none: no such file"},
		"a file that is no YAML":        {Sources{Files: []string{file("bad.yaml", "a: b: c")}}, nil, "bad.yaml: "},
		"a file with a list":            {Sources{Files: []string{file("list.yaml", "- a")}}, nil, "list.yaml: "},
		"an assignment without a value": {Sources{Set: []string{"a"}}, nil, `--set "a"`},
		"an index that is none":         {Sources{Set: []string{"a[x]=1"}}, nil, `--set "a[x]=1"`},
		"an index out of all bounds":    {Sources{SetString: []string{"a[99999999]=1"}}, nil, `--set-string "a[99999999]=1"`},
		"a file that has no end":        {Sources{Files: []string{"-"}, Stdin: strings.NewReader(strings.Repeat("#", maxValues+1))}, nil, "more than 4 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := tc.sources.Merge()
			if tc.err != "" {
				if !errors.Is(err, ErrOptions) || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, %v, want an error of the options with %q", got, err, tc.err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("got error %v and (-want +got):\n%s", err, diff)
			}
		})
	}
}

func FuzzMerge(f *testing.F) {
	f.Add("a: {b: 1}", "a.b=2", "a.c=3")
	f.Add("a: [1]", "a[0].b=x", `a\.b={x,y}`)
	f.Add("", "a={", "[0]=1")
	f.Fuzz(func(t *testing.T, file, set, setString string) {
		values, err := Sources{Files: []string{"-"}, Stdin: strings.NewReader(file), Set: []string{set}, SetString: []string{setString}}.Merge()
		if (err == nil) != (values != nil) || err != nil && !errors.Is(err, ErrOptions) {
			t.Errorf("got %v, %v", values, err)
		}
	})
}
