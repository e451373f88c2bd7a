package dfdaemon

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
)

func TestOptionsOfRegistries(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name     string
		ca, cert []string
		plain    []string
		want     map[string]origin.Registry // nil for an error
		common   string                     // roots for every registry
	}{
		{name: "none", want: map[string]origin.Registry{}},
		{
			name: "several of one registry", ca: []string{"Harbor.example=ca.pem"}, cert: []string{"harbor.example=c.pem:k.pem"},
			want: map[string]origin.Registry{"harbor.example": {CAFile: "ca.pem", ClientCert: "c.pem", ClientKey: "k.pem"}},
		},
		{name: "plain HTTP on a port", plain: []string{"127.0.0.1:5000"}, want: map[string]origin.Registry{"127.0.0.1:5000": {PlainHTTP: true}}},
		{name: "roots for every registry", ca: []string{"all.pem"}, want: map[string]origin.Registry{}, common: "all.pem"},
		{
			name: "Docker Hub by two of its names", ca: []string{"docker.io=hub.pem"}, cert: []string{"index.docker.io=c.pem:k.pem"},
			want: map[string]origin.Registry{"registry-1.docker.io": {CAFile: "hub.pem", ClientCert: "c.pem", ClientKey: "k.pem"}},
		},
		{name: "two roots for every registry", ca: []string{"a.pem", "b.pem"}},
		{name: "a certificate without a key", cert: []string{"harbor.example=c.pem"}},
		{name: "a host that is none", plain: []string{"not a host"}},
		{name: "a URL for a host", plain: []string{"http://harbor.example"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := Default()
			c.RegistryCA, c.RegistryCert, c.PlainHTTP = tc.ca, tc.cert, tc.plain
			got, err := c.origins()
			if (err != nil) != (tc.want == nil) {
				t.Fatalf("got error %v, want one: %v", err, tc.want == nil)
			}
			if err != nil {
				return
			}
			if diff := cmp.Diff(tc.want, got.Registries); diff != "" || got.CAFile != tc.common {
				t.Errorf("roots for all are %q, want %q; registries differ (-want +got):\n%s", got.CAFile, tc.common, diff)
			}
		})
	}
}
