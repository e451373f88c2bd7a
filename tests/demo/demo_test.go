package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/tests/cluster"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var smallSizes = []int64{1 << 20, 5000, 1}

func testImage(t *testing.T) (dir string, img v1.Image) {
	t.Helper()
	dir = t.TempDir()
	img, err := makeImage(t.Context(), dir, smallSizes)
	if err != nil {
		t.Fatal(err)
	}
	return dir, img
}

// testOrigin serves a small image and returns its name there.
func testOrigin(t *testing.T) (*origin, name.Tag, v1.Image) {
	t.Helper()
	dir, img := testImage(t)
	o, err := startOrigin(t.Context(), "127.0.0.1", dir, 100<<20)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.Close() })
	tag, err := o.push(t.Context(), "library/demo", img)
	if err != nil {
		t.Fatal(err)
	}
	return o, tag, img
}

func TestTheImageIsTheSameEveryTime(t *testing.T) {
	t.Parallel()
	_, a := testImage(t)
	_, b := testImage(t)
	first, err := a.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if second, err := b.Digest(); err != nil || first != second {
		t.Errorf("second image is %s (%v), want %s", second, err, first)
	}
}

func TestAPullReadsAllAndTheOriginCountsIt(t *testing.T) {
	t.Parallel()
	o, tag, img := testOrigin(t)
	var p pull
	if err := p.run(t.Context(), tag, authn.Anonymous); err != nil {
		t.Fatal(err)
	}
	if want, err := img.Digest(); err != nil || p.digest != want {
		t.Errorf("pulled %s, want %s (%v)", p.digest, want, err)
	}
	if p.bytes.Load() != p.total.Load() || p.total.Load() < sum(smallSizes) || int(p.layers.Load()) != len(smallSizes) {
		t.Errorf("read %d of %d bytes, %d layers", p.bytes.Load(), p.total.Load(), p.layers.Load())
	}
	config, err := img.RawConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	requests, sent, other := o.totals()
	if want := p.total.Load() + int64(len(config)); sent != want || requests != len(smallSizes)+1 || other == 0 {
		t.Errorf("the origin counts %d bytes in %d requests, %d others; want %d in %d, some others", sent, requests, other, want,
			len(smallSizes)+1)
	}
}

func TestAPullFailsOnAWrongByte(t *testing.T) {
	t.Parallel()
	o, tag, img := testOrigin(t)
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	hash, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(o.dir, hash.Hex), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("wrong"), 70_000); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := new(pull).run(t.Context(), tag, authn.Anonymous); err == nil || !strings.Contains(err.Error(), "sha256") {
		t.Errorf("pull of a damaged layer: %v, want an error about its sha256", err)
	}
}

func TestTheTablesShowEveryNode(t *testing.T) {
	t.Parallel()
	p := &pull{}
	p.total.Store(200 << 20)
	p.bytes.Store(50 << 20)
	p.took.Store(2e9)
	n := cluster.Node{Name: "node 1", Host: "127.0.0.11"}
	var live, plain, last bytes.Buffer
	v := view{w: &live, nodes: []cluster.Node{n}, pulls: []*pull{p}}
	v.draw()
	v.draw()
	if got := live.String(); !strings.Contains(got, "25 %") || !strings.Contains(got, "\x1b[1A") {
		t.Errorf("live table %q: want 25 %% and the cursor moved up over the first table", got)
	}
	v.w = &plain
	v.line()
	if got := plain.String(); got != "node 1 25 %\n" {
		t.Errorf("plain line %q", got)
	}
	if err := table(&last, []outcome{{node: n, pull: p, received: api.Shares{FromSeed: 1 << 20, FromPeers: 2 << 20}, sent: 3 << 20}}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"node 1", "127.0.0.11", "2.00 s", "25 MiB/s", "1.0 MiB", "2.0 MiB", "3.0 MiB"} {
		if !strings.Contains(last.String(), want) {
			t.Errorf("final table lacks %q:\n%s", want, last.String())
		}
	}
}
