package verify

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// content is a blob or manifest as the mirror answers it.
type content struct {
	mediaType types.MediaType
	bytes     []byte
	length    int    // as the header says, when it is not the bytes'
	source    string // api.HeaderSource
}

// fakeMirror answers for the image registry.test:5000/team/app:1.
type fakeMirror struct {
	contents map[string]*content // by tag or digest
	layer    string              // digest of the first platform's layer
	child    string              // digest of the first platform's manifest
	index    v1.ImageIndex
	images   []v1.Image
	user     string // asks for it and the password "secret", if set
	manifest atomic.Int32
}

// newFake makes an index of images for two platforms.
func newFake(t *testing.T) *fakeMirror {
	t.Helper()
	f := &fakeMirror{contents: map[string]*content{}, index: empty.Index}
	for _, arch := range []string{"amd64", "arm64"} {
		img, err := random.Image(1000, 2)
		if err != nil {
			t.Fatal(err)
		}
		f.images = append(f.images, img)
		f.index = mutate.AppendManifests(f.index, mutate.IndexAddendum{
			Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
		f.addImage(t, img)
	}
	layers, err := f.images[0].Layers()
	if err != nil {
		t.Fatal(err)
	}
	f.layer = digestOf(t, layers[0])
	f.child = digestOf(t, f.images[0])
	f.addIndex(t, "1", f.index)
	return f
}

func digestOf(t *testing.T, d interface{ Digest() (v1.Hash, error) }) string {
	t.Helper()
	h, err := d.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return h.String()
}

func (f *fakeMirror) addImage(t *testing.T, img v1.Image) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		rc, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if _, err := copyAll(&b, rc); err != nil {
			t.Fatal(err)
		}
		f.contents[digestOf(t, l)] = &content{bytes: []byte(b.String()), source: "swarm"}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	name, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	f.contents[name.String()] = &content{bytes: config, source: "cache"}
	manifest, err := img.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	f.contents[digestOf(t, img)] = &content{mediaType: types.DockerManifestSchema2, bytes: manifest, source: "swarm"}
}

// addIndex adds an index under a tag.
func (f *fakeMirror) addIndex(t *testing.T, tag string, idx v1.ImageIndex) {
	t.Helper()
	text, err := idx.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	c := &content{mediaType: types.OCIImageIndex, bytes: text, source: "origin"}
	f.contents[tag], f.contents[digestOf(t, idx)] = c, c
}

// ServeHTTP implements http.Handler.
func (f *fakeMirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if user, password, _ := r.BasicAuth(); f.user != "" && (user != f.user || password != "secret") {
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.URL.Query().Get("ns") != "registry.test:5000" {
		http.Error(w, "no ns", http.StatusBadRequest)
		return
	}
	if r.URL.Path == "/v2/" {
		return
	}
	kind, name, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/team/app/"), "/")
	c := f.contents[name]
	if !ok || c == nil {
		http.NotFound(w, r)
		return
	}
	if kind == "manifests" {
		f.manifest.Add(1)
	}
	length := len(c.bytes)
	if c.length != 0 {
		length = c.length
	}
	if c.source != "" {
		w.Header().Set(api.HeaderSource, c.source)
	}
	w.Header().Set("Content-Type", string(c.mediaType))
	w.Header().Set("Content-Length", strconv.Itoa(length))
	_, _ = w.Write(c.bytes)
}

// fakeDaemon answers for dfdaemon's status: each time 600 bytes more have come from peers, 300 from the seed and 100 from the origin.
func fakeDaemon(t *testing.T) string {
	t.Helper()
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := asked.Add(1)
		_ = json.NewEncoder(w).Encode(api.DaemonStatus{Received: api.Shares{FromPeers: 600 * n, FromSeed: 300 * n, FromOrigin: 100 * n}})
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}
