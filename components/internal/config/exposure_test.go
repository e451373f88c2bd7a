package config

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestCheckExposure(t *testing.T) {
	t.Parallel()
	const (
		quiet   = ""
		warned  = "NO CLUSTER SECRET"
		refused = "--insecure-no-secret"
	)
	for name, tc := range map[string]struct {
		addr             string
		secret, insecure bool
		want             string
	}{
		"loopback without a secret":          {addr: "127.0.0.1:8001", want: quiet},
		"another loopback address":           {addr: "127.0.0.9:8001", want: quiet},
		"loopback of version 6":              {addr: "[::1]:8001", want: quiet},
		"loopback of version 4 written as 6": {addr: "[::ffff:127.0.0.1]:8001", want: quiet},
		"localhost":                          {addr: "localhost:0", want: quiet},
		"every address":                      {addr: ":8001", want: refused},
		"every address of version 4":         {addr: "0.0.0.0:8001", want: refused},
		"every address of version 6":         {addr: "[::]:8001", want: refused},
		"one address":                        {addr: "10.1.2.3:8001", want: refused},
		"a name":                             {addr: "node1:8001", want: refused},
		"a name that looks like loopback":    {addr: "127.0.0.1.example:8001", want: refused},
		"every address with a secret":        {addr: ":8001", secret: true, want: quiet},
		"every address, accepted":            {addr: ":8001", insecure: true, want: warned},
		"loopback, accepted":                 {addr: "127.0.0.1:1", insecure: true, want: quiet},
		"accepted beside a secret":           {addr: ":8001", secret: true, insecure: true, want: quiet},
		"no port":                            {addr: "10.1.2.3", want: "is no host:port"},
		"nothing at all":                     {addr: "", want: "is no host:port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			err := CheckExposure(Exposure{Option: "peer-addr", Addr: tc.addr, HasSecret: tc.secret, Insecure: tc.insecure},
				slog.New(slog.NewTextHandler(&log, nil)))
			switch tc.want {
			case quiet:
				if err != nil || log.Len() != 0 {
					t.Errorf("got %v and log %q, want nothing", err, log.String())
				}
			case warned:
				if err != nil || !strings.Contains(log.String(), warned) {
					t.Errorf("got %v and log %q, want a warning", err, log.String())
				}
			default:
				if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), `"peer-addr"`) {
					t.Errorf("got %v, want an error with %q and the option", err, tc.want)
				}
			}
		})
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		log           Log
		want, wantErr string
	}{
		"text":          {Log{Level: "info", Format: "text"}, "level=INFO msg=hello\n", ""},
		"json":          {Log{Level: "INFO", Format: "json"}, `"level":"INFO","msg":"hello"}`, ""},
		"too low":       {Log{Level: "warn", Format: "text"}, "", ""},
		"unknown level": {Log{Level: "loud", Format: "text"}, "", `"loud" is none of`},
		"no level":      {Log{Level: "", Format: "text"}, "", "none of"},
		"bad format":    {Log{Level: "info", Format: "xml"}, "", `"xml" is neither`},
	} {
		var out bytes.Buffer
		log, _, err := tc.log.New(&out, "dfget")
		if tc.wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
				t.Errorf("%s: got error %v, want %q", name, err, tc.wantErr)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		log.Info("hello")
		if got := out.String(); !strings.Contains(got, tc.want) || (tc.want == "") != (got == "") {
			t.Errorf("%s: got %q, want %q", name, got, tc.want)
		}
	}
}
