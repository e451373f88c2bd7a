package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		file, text string
		want       func(*options)
	}{
		"the INI line of every version": {
			file: "dragonfly.conf", text: "[node]\naddress=10.0.0.1:8001,supernode.example\n",
			want: func(o *options) { o.Supernodes = []string{"10.0.0.1:8001", "supernode.example"} },
		},
		"INI with comments, Windows line ends and spaces": {
			file: "dragonfly.conf", text: "\uFEFF# all nodes\r\n; more\r\ndisk-quota = 1GiB ; enough\r\n\r\n[ node ]\r\naddress : a , b\r\n",
			want: func(o *options) { o.Quota, o.Supernodes = 1<<30, []string{"a", "b"} },
		},
		"INI values keep # and ; and \\ and %": {
			file: "dragonfly.conf", text: "registry = http://h/a#b;c%(x)s\\\nport = 7\n",
			want: func(o *options) { o.Registry, o.Port = `http://h/a#b;c%(x)s\`, 7 },
		},
		"INI keys again and again": {
			file: "dragonfly.conf", text: "supernode=a\nsupernode=b\nsupernode=b\n",
			want: func(o *options) { o.Supernodes = []string{"a", "b", "b"} },
		},
		"an INI list that is empty": {
			file: "dragonfly.conf", text: "[node]\naddress=\n",
			want: func(o *options) { o.Supernodes = []string{} },
		},
		"a section of its own wins, others are skipped": {
			file: "dragonfly.conf", text: "[dfdaemon]\nport=9\n[supernode]\nregister-addr=:1\n[dfget]\nport=4\n[DEFAULT]\nport=5\n",
			want: func(o *options) { o.Port = 9 },
		},
		"YAML sections the same": {
			file: "d.yml", text: "dfdaemon:\n  port: 9\nsupernode:\n  register-addr: :1\nport: 5\n",
			want: func(o *options) { o.Port = 9 },
		},
		"YAML lists, texts with commas, and maps": {
			file: "d.yaml", text: "supernode:\n- a\n- b:1\nheader: {Accept: 'a, b', X: 1.10}\nwait: 1m\nupload-limit: 1KiB/s\n",
			want: func(o *options) {
				o.Supernodes, o.Headers = []string{"a", "b:1"}, []string{"Accept=a, b", "X=1.10"}
				o.Wait, o.Limit = time.Minute, 1024
			},
		},
		"YAML scalars stay as written": {
			file: "d.yaml", text: "registry: 1.10\nport: 8\nstale-tags: True\n",
			want: func(o *options) { o.Registry, o.Port, o.Stale = "1.10", 8, true },
		},
		"YAML nulls are not set": {
			file: "d.yaml", text: "registry:\nsupernode: ~\nport: null\ndfdaemon:\n",
			want: func(*options) {},
		},
		"an empty YAML file":              {file: "d.yaml", text: "---\n", want: func(*options) {}},
		"a YAML file of only comments":    {file: "d.YAML", text: "# nothing\n", want: func(*options) {}},
		"an INI file of only comments":    {file: "d.conf", text: "# nothing\n", want: func(*options) {}},
		"a file without an ending is INI": {file: "conf", text: "port=5", want: func(o *options) { o.Port = 5 }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, _, err := load(t, nil, nil, tc.file, tc.text)
			if err != nil {
				t.Fatalf("Load: %v", err)
			}
			want := defaults()
			tc.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Load (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBadFiles(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, text, want string }{
		"a YAML key with a typo":               {"d.yaml", "port: 1\n\nregistri: x\n", `d.yaml:3: dfdaemon has no option "registri"; did you mean "registry"?`},
		"a YAML key with underscores":          {"d.yaml", "disk_quota: 1\n", `did you mean "disk-quota"?`},
		"a YAML key of another program":        {"d.yaml", "register-addr: :1\n", "put options of another program under a section of its name"},
		"a YAML key of another in our section": {"d.yaml", "dfdaemon:\n  register-addr: :1\n", `d.yaml:2: dfdaemon has no option "register-addr"`},
		"a YAML key twice":                     {"d.yaml", "port: 1\nport: 2\n", `d.yaml:2: option "port" is there twice`},
		"a YAML value of another type":         {"d.yaml", "port: many\n", `d.yaml:1: option "port": want a whole number`},
		"a YAML list for a text":               {"d.yaml", "registry: [a, b]\n", "takes one value, not a list"},
		"an empty YAML list for a text":        {"d.yaml", "registry: []\n", "takes one value, not a list"},
		"YAML nested too deep":                 {"d.yaml", "supernode: [[a]]\n", `option "supernode": want a list of texts`},
		"a YAML map nested too deep":           {"d.yaml", "header: {a: {b: c}}\n", "want a map of texts"},
		"a YAML alias":                         {"d.yaml", "registry: &x a\nsupernode: *x\n", "aliases are not read"},
		"YAML that is a list":                  {"d.yaml", "- a\n", `want lines of "option: value"`},
		"YAML that is a text":                  {"d.yaml", "hello\n", `want lines of "option: value"`},
		"broken YAML":                          {"d.yaml", "port: [1\n", "d.yaml: yaml: line 1"},
		"YAML with a tab":                      {"d.yaml", "port:\n\t- 1\n", "d.yaml: yaml: line 2"},
		"the file named in the file":           {"d.yaml", "config: other\n", `no option "config"`},
		"version in the file":                  {"d.yaml", "version: true\n", `no option "version"`},
		"help in the file":                     {"d.yaml", "help: true\n", `no option "help"`},
		"an INI key with a typo":               {"d.conf", "# x\n[dfdaemon]\nregistri=x\n", `d.conf:3: dfdaemon has no option "registri"; did you mean "registry"?`},
		"an INI section with a typo":           {"d.conf", "[dfdeamon]\nport=1\n", `d.conf:2: unknown section "dfdeamon"; did you mean "dfdaemon"?`},
		"an INI section of something else":     {"d.conf", "[peers]\na=1\n", `unknown section "peers"`},
		"another key under node":               {"d.conf", "[node]\naddr=1\n", `section "node" has no option "addr", only "address"`},
		"an INI line without a value":          {"d.conf", "port\n", "d.conf: key-value delimiter not found: port"},
		"an INI key twice that takes one":      {"d.conf", "port=1\nport=2\n", `option "port": takes one value, not a list`},
		"an INI value that is empty":           {"d.conf", "a=\nport=\n", `d.conf:1: dfdaemon has no option "a"`},
		"an INI number that is empty":          {"d.conf", "\nport=\n", `d.conf:2: option "port": want a whole number`},
		"a broken INI section":                 {"d.conf", "[node\naddress=a\n", "d.conf: unclosed section"},
		"a huge file":                          {"d.conf", strings.Repeat("#\n", maxFile), "at most 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, err := load(t, nil, nil, tc.file, tc.text)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Load: got error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestAProgramWithoutSupernodesSkipsTheirAddresses(t *testing.T) {
	t.Parallel()
	flags := pflag.NewFlagSet("supernode", pflag.ContinueOnError)
	for _, text := range []string{"[node]\naddress=a\n", "supernode=a\n"} {
		entries, err := parseINI([]byte(text), "f")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := choose(flags, entries, "supernode"); err != nil || len(got) != 0 {
			t.Errorf("choose(%q): got %v, %v, want nothing", text, got, err)
		}
	}
}

func FuzzINI(f *testing.F) {
	f.Add([]byte("[node]\naddress=a:1,b\n"))
	f.Add([]byte("port = 1\nport : 2\n[dfget]\nurl=`x`\n"))
	f.Add([]byte("a=\"\"\"b\nc\"\"\"\n"))
	f.Add([]byte("\xef\xbb\xbf[x]\n-=1\n"))
	fuzz(f, parseINI)
}

func FuzzYAML(f *testing.F) {
	f.Add([]byte("supernode: [a, b]\nheader: {a: b}\ndfdaemon:\n  port: 1\n"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("<<: {a: b}\n? [a]\n: b\n"))
	f.Add([]byte("%YAML 9.9\n---\n!!binary a: !!null b\n"))
	fuzz(f, parseYAML)
}

func fuzz(f *testing.F, parse func([]byte, string) ([]entry, error)) {
	f.Fuzz(func(t *testing.T, text []byte) {
		entries, err := parse(text, "file")
		if err != nil {
			if !strings.HasPrefix(err.Error(), "file:") {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		o := defaults()
		flags := flagSet(&o)
		settings, err := choose(flags, entries, "dfdaemon")
		if err != nil {
			return
		}
		for _, s := range settings {
			if !strings.HasPrefix(s.where, "file:") {
				t.Errorf("%+v: no place", s)
			}
			_ = apply(flags, s) // must not panic
		}
	})
}
