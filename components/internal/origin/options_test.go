package origin

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		options Options
		want    Config
		wantErr string
	}{
		"nothing": {want: Config{Registries: map[string]Registry{}}},
		"all of them for one host": {
			options: Options{CA: []string{"Harbor.example:8443=/ca.pem"}, Cert: []string{"harbor.example:8443=/c.pem:/k.pem"}, PlainHTTP: []string{"harbor.example:8443"}},
			want: Config{Registries: map[string]Registry{
				"harbor.example:8443": {CAFile: "/ca.pem", ClientCert: "/c.pem", ClientKey: "/k.pem", PlainHTTP: true},
			}},
		},
		"an authority for every host, and one more": {
			options: Options{CA: []string{"/all.pem", "a=/a.pem"}},
			want:    Config{CAFile: "/all.pem", Registries: map[string]Registry{"a": {CAFile: "/a.pem"}}},
		},
		"two authorities for every host": {options: Options{CA: []string{"/a", "/b"}}, wantErr: `"/a" and "/b" are both for every host`},
		"an authority without a file":    {options: Options{CA: []string{"a="}}, wantErr: `"a=", want FILE or`},
		"an authority without a host":    {options: Options{CA: []string{"=/a"}}, wantErr: `"=/a", want FILE or`},
		"an empty authority":             {options: Options{CA: []string{""}}, wantErr: `"", want FILE or`},
		"a certificate without its key":  {options: Options{Cert: []string{"a=/c"}}, wantErr: "want host[:port]=CERT:KEY"},
		"a certificate without a host":   {options: Options{Cert: []string{"/c:/k"}}, wantErr: "want host[:port]=CERT:KEY"},
		"a URL for a host":               {options: Options{PlainHTTP: []string{"http://a"}}, wantErr: `"http://a", want host[:port]`},
		"an empty host":                  {options: Options{PlainHTTP: []string{""}}, wantErr: `"", want host[:port]`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got Config
			err := tc.options.Apply(&got)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("Apply: got error %v, want %q", err, tc.wantErr)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got, cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "CheckAddr" }, cmp.Ignore())); err != nil || diff != "" {
				t.Errorf("Apply: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}
