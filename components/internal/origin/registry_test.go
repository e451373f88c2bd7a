package origin

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A registry that others wrote, which minds ranges past the end of a blob.
func TestFetchFromARegistry(t *testing.T) {
	t.Parallel()
	var gets []string
	reg := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			gets = append(gets, r.Header.Get("Range"))
		}
		reg.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	repo, err := name.NewRepository(strings.TrimPrefix(srv.URL, "http://") + "/app")
	if err != nil {
		t.Fatal(err)
	}
	cfg := small
	cfg.Parallel = 1
	c := realClient(t, cfg)
	for _, row := range []struct {
		size int
		want []string
	}{
		{100, []string{"bytes=0-16383", ""}},
		{16384, []string{"bytes=0-16383"}},
		{100_000, []string{"bytes=0-16383", "bytes=16384-49151", "bytes=49152-81919", "bytes=81920-99999"}},
	} {
		layer := static.NewLayer(bytesOf(row.size), types.OCILayer)
		if err := remote.WriteLayer(repo, layer); err != nil {
			t.Fatal(err)
		}
		gets = nil
		s := &sink{t: t}
		if err := c.Fetch(t.Context(), Request{URL: blobURL(t, srv.URL, layer), Immutable: true}, nil, s); err != nil {
			t.Fatal(err)
		}
		s.check(bytesOf(row.size), nil)
		if !slices.Equal(gets, row.want) {
			t.Errorf("%d bytes: asked for %q, want %q", row.size, gets, row.want)
		}
	}
}

func blobURL(t *testing.T, base string, layer v1.Layer) string {
	t.Helper()
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return base + "/v2/app/blobs/" + digest.String()
}
