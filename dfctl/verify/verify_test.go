package verify

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/dfctl/cli"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const image = "registry.test:5000/team/app:1"

func copyAll(w io.Writer, rc io.ReadCloser) (int64, error) {
	n, err := io.Copy(w, rc)
	return n, errors.Join(err, rc.Close())
}

// verify runs the command against a mirror.
func verify(t *testing.T, h http.Handler, args ...string) (out string, err error) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	var b bytes.Buffer
	cmd := NewCommand(cli.Streams{Out: &b, Err: io.Discard})
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetArgs(append([]string{"--mirror", srv.URL, "--socket=", "--admin-addr=", "--timeout=1m", "--platform=linux/amd64"}, args...))
	err = cmd.ExecuteContext(t.Context())
	return b.String(), err
}

func code(err error) int {
	if coded, ok := errors.AsType[*cli.Error](err); ok {
		return coded.ExitCode()
	}
	if err != nil {
		return cli.ExitOther
	}
	return 0
}

func TestImageIsPulledAndAccountedFor(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args             []string
		manifests, blobs int
		percent          float64
		code             int
	}{
		"one platform":            {nil, 2, 3, 70, 0},
		"all platforms":           {[]string{"--platform=all"}, 3, 6, 80, 0},
		"enough from the swarm":   {[]string{"--min-p2p=50"}, 2, 3, 70, 0},
		"too little of the swarm": {[]string{"--min-p2p=99.5"}, 2, 3, 70, cli.ExitDegraded},
	} {
		f := newFake(t)
		out, err := verify(t, f, append(tc.args, "-o=json", image)...)
		if code(err) != tc.code {
			t.Errorf("%s: got %v, want exit code %d", name, err, tc.code)
			continue
		}
		var r Report
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%s: %v in %q", name, err, out)
		}
		sum := r.Answers.Cache + r.Answers.Swarm + r.Answers.Origin
		if r.Manifests != tc.manifests || r.Blobs != tc.blobs || sum != r.Bytes || r.Answers.Unknown != 0 || r.P2PPercent < tc.percent ||
			r.Digest != digestOf(t, f.index) || r.Received != nil {
			t.Errorf("%s: got %+v, want %d manifests, %d blobs, all bytes accounted for, over %v %% from the swarm", name, r, tc.manifests, tc.blobs, tc.percent)
		}
	}
}

func TestShareOfTheSwarm(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answers  Sources
		received *api.Shares
		want     float64
	}{
		"nothing":                           {Sources{}, nil, 0},
		"all from the node's store":         {Sources{Cache: 10}, &api.Shares{}, 100},
		"half from the registry":            {Sources{Swarm: 5, Origin: 5}, nil, 50},
		"the swarm had to read some itself": {Sources{Swarm: 10}, &api.Shares{FromPeers: 6, FromSeed: 2, FromOrigin: 2}, 80},
		"another program answers":           {Sources{Unknown: 10}, nil, 0},
	} {
		if got := percent(tc.answers, tc.received); math.Abs(got-tc.want) > 0.01 {
			t.Errorf("%s: got %v %%, want %v %%", name, got, tc.want)
		}
	}
}

func TestTextForPeople(t *testing.T) {
	t.Parallel()
	out, err := verify(t, newFake(t), "--admin-addr", fakeDaemon(t), image)
	if err != nil {
		t.Fatal(err)
	}
	out = regexp.MustCompile(`sha256:[0-9a-f]{64}`).ReplaceAllString(out, "sha256:HEX")
	out = regexp.MustCompile(`[0-9.]+ s\n`).ReplaceAllString(out, "0.1 s\n")
	out = regexp.MustCompile(`[0-9.]+ (B|KiB|%)`).ReplaceAllString(out, "N $1")
	golden := filepath.Join("testdata", "text.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(out), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out); diff != "" {
		t.Errorf("(-want +got; -update accepts it):\n%s", diff)
	}
}

func TestHostileMirrors(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*fakeMirror)
		want   string
	}{
		"a wrong byte in a blob":     {func(f *fakeMirror) { f.contents[f.layer].bytes[500] ^= 1 }, "pull the blob sha256:"},
		"a wrong byte in a manifest": {func(f *fakeMirror) { f.contents[f.child].bytes[20] ^= 1 }, "does not match"},
		"a short blob": {func(f *fakeMirror) {
			c := f.contents[f.layer]
			c.length, c.bytes = len(c.bytes), c.bytes[:600]
		}, "unexpected EOF"},
		"a blob that is short and says so": {func(f *fakeMirror) { f.contents[f.layer].bytes = f.contents[f.layer].bytes[:600] }, "pull the blob sha256:"},
		"a long blob": {func(f *fakeMirror) {
			f.contents[f.layer].bytes = append(f.contents[f.layer].bytes, make([]byte, 1<<20)...)
		}, "pull the blob sha256:"},
		"a blob that is not there":     {func(f *fakeMirror) { delete(f.contents, f.layer) }, "404"},
		"a manifest that is not there": {func(f *fakeMirror) { delete(f.contents, f.child) }, "404"},
		"a huge manifest":              {func(f *fakeMirror) { f.contents["1"].bytes = make([]byte, maxManifest+1) }, "more than 4194304 bytes"},
		"a manifest that is no JSON":   {func(f *fakeMirror) { f.contents["1"] = &content{mediaType: types.OCIImageIndex, bytes: []byte("{")} }, "read the index"},
		"a web page":                   {func(f *fakeMirror) { f.contents["1"] = &content{mediaType: "text/html", bytes: []byte("<html>")} }, `the type "text/html"`},
		"a blob without a digest": {func(f *fakeMirror) {
			f.contents["1"] = &content{mediaType: types.OCIManifestSchema1, bytes: []byte(`{"schemaVersion":2,"layers":[{"size":1}]}`)}
		}, "makes no sense"},
	} {
		f := newFake(t)
		tc.change(f)
		out, err := verify(t, f, image)
		if code(err) != cli.ExitOther || !strings.Contains(err.Error(), tc.want) || out != "" {
			t.Errorf("%s: got %v and the output %q, want exit code %d with %q and no output", name, err, out, cli.ExitOther, tc.want)
		}
	}
}

func TestIndexesWithinEachOtherEnd(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	idx := f.index
	for range maxDepth + 2 {
		idx = mutate.AppendManifests(empty.Index, mutate.IndexAddendum{
			Add: idx, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "amd64"}},
		})
		f.addIndex(t, "deep", idx)
	}
	_, err := verify(t, f, "registry.test:5000/team/app:deep")
	if err == nil || !strings.Contains(err.Error(), "indexes within each other") || f.manifest.Load() > maxDepth+1 {
		t.Errorf("got %v after %d manifests, want an error after %d", err, f.manifest.Load(), maxDepth+1)
	}
}

func TestIndexThatNamesItselfIsRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	self := "sha256:" + strings.Repeat("ab", 32)
	f.contents[self] = &content{mediaType: types.OCIImageIndex, bytes: fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[{"digest":%q,"size":100,
"mediaType":"application/vnd.oci.image.index.v1+json","platform":{"os":"linux","architecture":"amd64"}}]}`, self)}
	f.contents["1"] = f.contents[self]
	if _, err := verify(t, f, image); err == nil || !strings.Contains(err.Error(), "does not match") {
		t.Errorf("got %v, want that the digest does not match", err)
	}
}

func TestWhatStandsInTheWayIsSaid(t *testing.T) {
	t.Parallel()
	redirect := http.RedirectHandler("http://127.0.0.1:1/", http.StatusFound)
	for name, tc := range map[string]struct {
		handler http.Handler
		args    []string
		code    int
		want    string
	}{
		"no dfdaemon":         {newFake(t), []string{"--mirror=http://127.0.0.1:1", image}, cli.ExitNothing, "is dfdaemon running on this node"},
		"another program":     {redirect, []string{image}, cli.ExitOther, "this is no dfdaemon"},
		"an unknown platform": {newFake(t), []string{"--platform=linux/s390x", image}, cli.ExitOther, "nothing for linux/s390x; --platform"},
		"a bad platform":      {newFake(t), []string{"--platform=linux", image}, cli.ExitUsage, `option "platform"`},
		"a bad image":         {newFake(t), []string{"A B"}, cli.ExitUsage, "no name of an image"},
		"a bad mirror":        {newFake(t), []string{"--mirror=127.0.0.1:65001", image}, cli.ExitUsage, `option "mirror"`},
		"a bad percentage":    {newFake(t), []string{"--min-p2p=101", image}, cli.ExitUsage, "want a percentage"},
		"no time":             {newFake(t), []string{"--timeout=1ns", image}, cli.ExitOther, "not done in 1ns (--timeout)"},
	} {
		_, err := verify(t, tc.handler, tc.args...)
		if code(err) != tc.code || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v (exit code %d), want %q (%d)", name, err, code(err), tc.want, tc.code)
		}
	}
}

func TestCredentialsOfDockerAreUsed(t *testing.T) {
	f := newFake(t)
	f.user = "me"
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	if _, err := verify(t, f, image); err == nil || !strings.Contains(err.Error(), "401") {
		t.Errorf("without credentials: got %v, want 401", err)
	}
	auth := base64.StdEncoding.EncodeToString([]byte("me:secret"))
	config := fmt.Sprintf(`{"auths":{"registry.test:5000":{"auth":%q}}}`, auth)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := verify(t, f, image); err != nil {
		t.Errorf("with credentials: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"config":{"digest":"sha256:` + strings.Repeat("ab", 32) + `","size":3},"layers":[{"size":-1}]}`))
	f.Add([]byte(`{"layers":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		w := &walk{manifests: map[v1.Hash]bool{}, blobs: map[v1.Hash]v1.Descriptor{}}
		if err := w.image(text); err != nil {
			return
		}
		for hash, d := range w.blobs {
			if d.Size < 0 || hash.Hex == "" {
				t.Errorf("took a blob %v of %d bytes", hash, d.Size)
			}
		}
	})
}
