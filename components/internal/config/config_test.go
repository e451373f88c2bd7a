package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// options stand for a program's.
type options struct {
	Registry   string
	Supernodes []string
	Headers    []string
	Quota      int64
	Limit      int64
	Wait       time.Duration
	Port       int
	Stale      bool
}

func defaults() options {
	return options{Registry: "https://registry-1.docker.io", Quota: 100 << 30, Wait: 5 * time.Second, Port: 65001}
}

func flagSet(o *options) *pflag.FlagSet {
	flags := pflag.NewFlagSet("dfdaemon", pflag.ContinueOnError)
	flags.String(fileOption, "", "")
	flags.Bool("version", false, "")
	flags.StringVar(&o.Registry, "registry", o.Registry, "")
	flags.StringSliceVar(&o.Supernodes, "supernode", o.Supernodes, "")
	flags.StringArrayVar(&o.Headers, "header", o.Headers, "")
	Size(flags, &o.Quota, "disk-quota", "")
	Rate(flags, &o.Limit, "upload-limit", "", "")
	Duration(flags, &o.Wait, "wait", "", "")
	flags.IntVar(&o.Port, "port", o.Port, "")
	flags.BoolVar(&o.Stale, "stale-tags", o.Stale, "")
	return flags
}

// load runs Load on a command line, an environment and a file named name in a fresh directory.
func load(t *testing.T, args, env []string, name, text string) (options, []string, error) {
	t.Helper()
	o := defaults()
	flags := flagSet(&o)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	src := Sources{Program: "dfdaemon", Environ: env, DefaultFile: filepath.Join(t.TempDir(), name)}
	if text != "" {
		if err := os.WriteFile(src.DefaultFile, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	warnings, err := Load(flags, src)
	return o, warnings, err
}

func TestPrecedence(t *testing.T) {
	t.Parallel()
	const file = "disk-quota: 1GiB\nregistry: https://file\nsupernode: [a, b]\nport: 3\n"
	for name, tc := range map[string]struct {
		args, env []string
		file      string
		want      func(*options)
	}{
		"defaults when there is nothing else": {
			want: func(*options) {},
		},
		"the file beats the default": {
			file: file,
			want: func(o *options) {
				o.Quota, o.Registry, o.Supernodes, o.Port = 1<<30, "https://file", []string{"a", "b"}, 3
			},
		},
		"the environment beats the file": {
			file: file,
			env:  []string{"DRAGONFLY_DISK_QUOTA=2GiB", "DRAGONFLY_SUPERNODE=c,d , e", "PATH=/bin"},
			want: func(o *options) {
				o.Quota, o.Registry, o.Supernodes, o.Port = 2<<30, "https://file", []string{"c", "d", "e"}, 3
			},
		},
		"the flag beats them all": {
			file: file,
			env:  []string{"DRAGONFLY_DISK_QUOTA=2GiB", "DRAGONFLY_SUPERNODE=c,d"},
			args: []string{"--disk-quota=3GiB", "--supernode=f", "--supernode=g"},
			want: func(o *options) {
				o.Quota, o.Registry, o.Supernodes, o.Port = 3<<30, "https://file", []string{"f", "g"}, 3
			},
		},
		"an empty variable counts as not set": {
			file: file,
			env:  []string{"DRAGONFLY_DISK_QUOTA=", "DRAGONFLY_PORT"},
			want: func(o *options) {
				o.Quota, o.Registry, o.Supernodes, o.Port = 1<<30, "https://file", []string{"a", "b"}, 3
			},
		},
		"values with commas stand one a line in a variable": {
			env:  []string{"DRAGONFLY_HEADER=Accept: a, b\nX: y\n"},
			want: func(o *options) { o.Headers = []string{"Accept: a, b", "X: y"} },
		},
		"every type has a text": {
			env: []string{"DRAGONFLY_UPLOAD_LIMIT=20M/s", "DRAGONFLY_WAIT=90", "DRAGONFLY_STALE_TAGS=true"},
			want: func(o *options) {
				o.Limit, o.Wait, o.Stale = 20<<20, 90*time.Second, true
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, warnings, err := load(t, tc.args, tc.env, "f.yaml", tc.file)
			if err != nil || len(warnings) != 0 {
				t.Fatalf("Load: %v, warnings %q", err, warnings)
			}
			want := defaults()
			tc.want(&want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("Load (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhichFileIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"flag", "variable", "default"} {
		if err := os.WriteFile(path(name), []byte("registry = "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		args, env     []string
		def           string
		want, wantErr string
	}{
		"the flag's first":                   {args: []string{"--config", path("flag")}, env: []string{"DRAGONFLY_CONFIG=" + path("variable")}, def: path("default"), want: "flag"},
		"then the variable's":                {env: []string{"DRAGONFLY_CONFIG=" + path("variable")}, def: path("default"), want: "variable"},
		"then the default":                   {def: path("default"), want: "default"},
		"the default may be missing":         {def: path("none"), want: defaults().Registry},
		"the flag's may not":                 {args: []string{"--config", path("none")}, wantErr: "no such file"},
		"the variable's neither":             {env: []string{"DRAGONFLY_CONFIG=" + path("none")}, wantErr: "no such file"},
		"a directory is no file":             {args: []string{"--config", dir}, wantErr: "is no file"},
		"an empty flag means no file at all": {args: []string{"--config="}, def: path("default"), want: defaults().Registry},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := defaults()
			flags := flagSet(&o)
			if err := flags.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			_, err := Load(flags, Sources{Program: "dfdaemon", Environ: tc.env, DefaultFile: tc.def})
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("Load: got error %v, want %q", err, tc.wantErr)
				}
				return
			}
			if err != nil || o.Registry != tc.want {
				t.Errorf("Load: got %q, %v, want %q", o.Registry, err, tc.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		env         string
		wantErr     string
		wantWarning string
	}{
		"a typo":                            {env: "DRAGONFLY_DISK_QOUTA=1", wantErr: "variable DRAGONFLY_DISK_QOUTA: dfdaemon has no such option; did you mean DRAGONFLY_DISK_QUOTA?"},
		"a word written together":           {env: "DRAGONFLY_STALETAGS=1", wantErr: "did you mean DRAGONFLY_STALE_TAGS?"},
		"another program's option":          {env: "DRAGONFLY_REGISTER_ADDR=:8001", wantWarning: "DRAGONFLY_REGISTER_ADDR is none of dfdaemon's options"},
		"a bad value":                       {env: "DRAGONFLY_DISK_QUOTA=lots", wantErr: `environment variable DRAGONFLY_DISK_QUOTA: option "disk-quota": "lots" is no size`},
		"a bad number":                      {env: "DRAGONFLY_PORT=x", wantErr: "want a whole number"},
		"a bad switch":                      {env: "DRAGONFLY_STALE_TAGS=yes", wantErr: "want true or false"},
		"version is no option":              {env: "DRAGONFLY_VERSION=1.2", wantWarning: "DRAGONFLY_VERSION"},
		"a name of nothing":                 {env: "DRAGONFLY_=1", wantWarning: "DRAGONFLY_ "},
		"a very long name":                  {env: "DRAGONFLY_" + strings.Repeat("X", 1<<20) + "=1", wantWarning: "none of"},
		"lower case is not ours":            {env: "dragonfly_disk_qouta=1"},
		"a service link of a supernode":     {env: "DRAGONFLY_SUPERNODE_PORT=tcp://10.0.0.1:8001"},
		"a service link's host":             {env: "DRAGONFLY_SUPERNODE_SERVICE_HOST=10.0.0.1"},
		"a service link's port":             {env: "DRAGONFLY_SUPERNODE_SERVICE_PORT=8001"},
		"a service link's named port":       {env: "DRAGONFLY_SERVICE_PORT_REGISTER=8001"},
		"a service link's address":          {env: "DRAGONFLY_PORT_8001_TCP_ADDR=10.0.0.1"},
		"a service link's whole address":    {env: "DRAGONFLY_PORT_8001_TCP=tcp://10.0.0.1:8001"},
		"a service link that is an option":  {env: "DRAGONFLY_PORT=tcp://10.0.0.1:8001"},
		"an option that resembles the link": {env: "DRAGONFLY_PORT=http://10.0.0.1:8001", wantErr: "want a whole number"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, warnings, err := load(t, nil, []string{tc.env}, "f.yaml", "")
			all := strings.Join(warnings, "\n")
			if (err == nil) != (tc.wantErr == "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Fatalf("Load: got error %v, want %q", err, tc.wantErr)
			}
			if (all == "") != (tc.wantWarning == "") || !strings.Contains(all, tc.wantWarning) {
				t.Errorf("Load: got warnings %q, want %q", all, tc.wantWarning)
			}
			if diff := cmp.Diff(defaults(), got); err == nil && diff != "" {
				t.Errorf("Load changed an option:\n%s", diff)
			}
		})
	}
}

func TestErrorsDoNotSuggestWhatIsFar(t *testing.T) {
	t.Parallel()
	known := []string{"registry", "port", "disk-quota", "zone"}
	for name, want := range map[string]string{
		"registy": "registry", "Disk_Quota": "disk-quota", "prt": "port", "node": "", "quota": "", "": "", "peer-addr": "", "disk": "",
	} {
		if got := nearest(name, known); got != want {
			t.Errorf("nearest(%q): got %q, want %q", name, got, want)
		}
	}
	if slices.Contains(names(flagSet(new(options))), "version") {
		t.Error("version may be suggested")
	}
}
