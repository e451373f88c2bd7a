package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/spf13/pflag"
)

func TestFromEnviron(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args, env []string
		want      time.Duration
		list      string
		wantErr   string
	}{
		"the default":                    {want: time.Second, list: "[]"},
		"the variables":                  {env: []string{"DRAGONFLY_TIMEOUT=2s", "DRAGONFLY_SUPERNODE=a,b"}, want: 2 * time.Second, list: "[a,b]"},
		"the flags win":                  {args: []string{"--timeout=3s", "--supernode=c"}, env: []string{"DRAGONFLY_TIMEOUT=2s", "DRAGONFLY_SUPERNODE=a"}, want: 3 * time.Second, list: "[c]"},
		"an empty variable is not set":   {env: []string{"DRAGONFLY_TIMEOUT="}, want: time.Second, list: "[]"},
		"another option is left alone":   {env: []string{"DRAGONFLY_OTHER=x", "DRAGONFLY_TIMEOUTS=9s"}, want: time.Second, list: "[]"},
		"a bad value names its variable": {env: []string{"DRAGONFLY_TIMEOUT=soon"}, wantErr: "environment variable DRAGONFLY_TIMEOUT"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := pflag.NewFlagSet("x", pflag.ContinueOnError)
			wait := f.Duration("timeout", time.Second, "")
			f.StringSlice("supernode", nil, "")
			f.String("other", "", "")
			if err := f.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			err := FromEnviron(f, tc.env, "timeout", "supernode", "none")
			if tc.wantErr != "" {
				var coded *Error
				if !errors.As(err, &coded) || coded.ExitCode() != ExitUsage || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("got %v, want a usage error with %q", err, tc.wantErr)
				}
				return
			}
			if got := f.Lookup("supernode").Value.String(); err != nil || *wait != tc.want || got != tc.list || f.Lookup("other").Value.String() != "" {
				t.Errorf("got %v, %v, %v, want %v, %v", *wait, got, err, tc.want, tc.list)
			}
		})
	}
}

func TestOutput(t *testing.T) {
	t.Parallel()
	var o Output
	f := pflag.NewFlagSet("x", pflag.ContinueOnError)
	o.Flag(f)
	text := template.Must(template.New("").Parse("{{.a}}\n"))
	for format, want := range map[string]string{"text": "1\n", "json": "{\n  \"a\": 1\n}\n"} {
		if err := f.Set("output", format); err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := o.Write(&b, map[string]int{"a": 1}, text); err != nil || b.String() != want {
			t.Errorf("%s: got %q, %v, want %q", format, b.String(), err, want)
		}
	}
	for _, format := range []string{"", "JSON", "yaml"} {
		if err := f.Set("output", format); err == nil {
			t.Errorf("format %q is taken", format)
		}
	}
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"node-1": "node-1", "Knoten 1, größer": "Knoten 1, größer", "\x1b[2Jgone": "?[2Jgone", "a\nb\tc\r": "a?b?c?", "\u202eevil": "?evil", "\x00\xff": "?\ufffd",
	} {
		if got := Plain(text); got != want {
			t.Errorf("Plain(%q): got %q, want %q", text, got, want)
		}
	}
}
