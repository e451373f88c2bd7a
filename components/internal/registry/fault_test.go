package registry

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func TestWhenTheSwarmFailsBeforeTheFirstByteTheOriginAnswers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name string
		fail func(*swarm)
	}{
		{"no download can be opened", func(s *swarm) { s.openErr = errors.New("out of everything") }},
		{"the download learns nothing", func(s *swarm) { s.metaErr = errors.New("no supernode and no peer") }},
	} {
		for _, cred := range []string{nobody, mine} {
			t.Run(row.name+" "+cred, func(t *testing.T) {
				t.Parallel()
				r := newRig(t)
				img := r.push("app", "v1", 50_000, 1)
				row.fail(r.swarm)
				blob, manifest := "/v2/app/blobs/"+img.layer.String(), "/v2/app/manifests/"+img.digest.String()
				if got := r.do("GET", blob, auth(cred)...); got.StatusCode != http.StatusOK || !bytes.Equal(got.body, img.bytes) || got.Header.Get(headerSource) != sourceOrigin {
					t.Errorf("blob: got %d with %d bytes from %q", got.StatusCode, len(got.body), got.Header.Get(headerSource))
				}
				if got := r.do("GET", blob, append(auth(cred), "Range", "bytes=10-19", "If-Range", `"`+img.layer.String()+`"`)...); got.StatusCode != http.StatusPartialContent || !bytes.Equal(got.body, img.bytes[10:20]) {
					t.Errorf("range: got %d with %d bytes", got.StatusCode, len(got.body))
				}
				if got := r.do("GET", blob, append(auth(cred), "Range", "bytes=10-19", "If-Range", `"x"`)...); got.StatusCode != http.StatusOK || len(got.body) != len(img.bytes) {
					t.Errorf("range of another version: got %d with %d bytes", got.StatusCode, len(got.body))
				}
				if got := r.do("HEAD", blob, auth(cred)...); got.StatusCode != http.StatusOK || got.ContentLength != int64(len(img.bytes)) {
					t.Errorf("HEAD: got %d, length %d", got.StatusCode, got.ContentLength)
				}
				for _, method := range []string{"GET", "HEAD"} {
					got := r.do(method, manifest, auth(cred)...)
					if got.StatusCode != http.StatusOK || method == "GET" && !bytes.Equal(got.body, img.manifest) || got.ContentLength != int64(len(img.manifest)) {
						t.Errorf("%s manifest: got %d with %d bytes", method, got.StatusCode, len(got.body))
					}
				}
				if got := r.do("GET", "/v2/app/blobs/"+sum256, auth(cred)...); got.StatusCode != http.StatusNotFound {
					t.Errorf("a blob that the origin lacks: got %d, want its 404", got.StatusCode)
				}
			})
		}
	}
}

func TestWhenTheSwarmFailsInTheBodyTheOriginGoesOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("app", "v1", 300_000, 1)
	if got := r.do("GET", "/v2/app/blobs/"+img.layer.String()); got.StatusCode != http.StatusOK {
		t.Fatalf("got %d", got.StatusCode)
	}
	size := len(img.bytes)
	for _, row := range []struct {
		cut         int64
		first, last int // range, the whole if last is 0
		noWriteTo   bool
		unknown     bool
	}{
		{cut: 0},
		{cut: 1},
		{cut: 65_536},
		{cut: int64(size) - 1},
		{cut: int64(size)},
		{cut: 1000, first: 500, last: 99_999},
		{cut: 10, first: 500, last: 99_999},
		{cut: 200_000, first: 500, last: 99_999},
		{cut: 1000, noWriteTo: true},
		{cut: 0, noWriteTo: true, first: 1, last: 1},
		{cut: 1000, unknown: true},
		{cut: 0, unknown: true},
		{cut: int64(size) - 1, unknown: true},
	} {
		r.swarm.set(func() {
			r.swarm.cut, r.swarm.noWriteTo, r.swarm.lengthOff = row.cut, row.noWriteTo, row.unknown
			r.swarm.tasks[img.layer.Encoded()].local = !row.unknown
		})
		r.http.streams.Store(0)
		want, rng := img.bytes, ""
		if row.last > 0 {
			want, rng = want[row.first:row.last+1], fmt.Sprintf("bytes=%d-%d", row.first, row.last)
		}
		got := r.do("GET", "/v2/app/blobs/"+img.layer.String(), "Range", rng)
		if got.err != nil || !bytes.Equal(got.body, want) {
			t.Errorf("%+v: got %d with %d bytes, %v; want the %d right ones", row, got.StatusCode, len(got.body), got.err, len(want))
		}
		streams := int64(1)
		if end := int64(row.first + len(want)); row.cut >= end {
			streams = 0
		}
		if n := r.http.streams.Load(); n != streams {
			t.Errorf("%+v: streams from the origin: got %d, want %d", row, n, streams)
		}
	}
}

func TestSeveralRangesGoOnFromTheOriginToo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("app", "v1", 100_000, 1)
	if got := r.do("GET", "/v2/app/blobs/"+img.layer.String()); got.StatusCode != http.StatusOK {
		t.Fatalf("got %d", got.StatusCode)
	}
	r.swarm.set(func() { r.swarm.cut = 1000 })
	got := r.do("GET", "/v2/app/blobs/"+img.layer.String(), "Range", "bytes=990-1009,50000-50009")
	if got.StatusCode != http.StatusPartialContent || got.err != nil || !bytes.Contains(got.body, img.bytes[990:1010]) || !bytes.Contains(got.body, img.bytes[50000:50010]) {
		t.Errorf("got %d with %d bytes, %v", got.StatusCode, len(got.body), got.err)
	}
}

func TestWhenNobodyCanGoOnTheClientSeesACutBody(t *testing.T) {
	t.Parallel()
	for _, unknown := range []bool{false, true} {
		t.Run(fmt.Sprintf("length unknown %v", unknown), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			img := r.push("app", "v1", 100_000, 1)
			if got := r.do("GET", "/v2/app/blobs/"+img.layer.String()); got.StatusCode != http.StatusOK {
				t.Fatalf("got %d", got.StatusCode)
			}
			r.swarm.set(func() {
				r.swarm.cut, r.swarm.lengthOff = 1000, unknown
				r.swarm.tasks[img.layer.Encoded()].local = !unknown
			})
			r.origin.set(func() {
				r.origin.hook = func(w http.ResponseWriter, _ *http.Request) bool {
					w.WriteHeader(http.StatusInternalServerError)
					return true
				}
			})
			got := r.do("GET", "/v2/app/blobs/"+img.layer.String())
			if got.err == nil {
				t.Errorf("got a whole body of %d bytes, want an error", len(got.body))
			}
			if !bytes.HasPrefix(img.bytes, got.body) {
				t.Error("the bytes that came are wrong")
			}
		})
	}
}

func TestAnOriginWithAnotherLengthDoesNotGoOn(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	d := r.hold(bytes.Repeat([]byte("x"), 5000), "")
	r.swarm.set(func() { r.swarm.cut = 1000 })
	r.origin.hook = func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Content-Range", "bytes 1000-4999/6000")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(bytes.Repeat([]byte("y"), 4000))
		return true
	}
	if got := r.do("GET", "/v2/app/blobs/"+d.String()); got.err == nil || bytes.Contains(got.body, []byte("y")) {
		t.Errorf("got %d bytes, %v; want a cut body", len(got.body), got.err)
	}
}

func TestWrongBytesOfTheSwarmAreNoManifest(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("app", "v1", 1000, 1)
	r.swarm.tasks[img.digest.Encoded()] = &swarmTask{data: []byte(`{"evil":true}`), local: true, meta: api.Meta{Length: 13, Public: true}}
	got := r.do("GET", "/v2/app/manifests/"+img.digest.String())
	if got.StatusCode != http.StatusOK || !bytes.Equal(got.body, img.manifest) || got.Header.Get(headerSource) != sourceOrigin {
		t.Errorf("got %d %q from %q, want the origin's", got.StatusCode, got.body, got.Header.Get(headerSource))
	}
}

// withoutSwarm is a mirror that has to relay everything, before an origin with one blob of 100,000 bytes, sent by hook.
func withoutSwarm(t *testing.T, hook func(w http.ResponseWriter, req *http.Request, data []byte)) (*rig, image) {
	t.Helper()
	r := newRig(t)
	img := r.push("app", "v1", 100_000, 1)
	r.swarm.openErr = errors.New("no")
	r.origin.hook = func(w http.ResponseWriter, req *http.Request) bool {
		if req.Method != http.MethodGet || !strings.Contains(req.URL.Path, "/blobs/") {
			return false
		}
		hook(w, req, img.bytes)
		return true
	}
	return r, img
}

func TestARelayedBodyThatBreaksGoesOnAtItsOffset(t *testing.T) {
	t.Parallel()
	for _, chunked := range []bool{false, true} {
		for _, rng := range []string{"", "bytes=10-50009"} {
			t.Run(fmt.Sprintf("chunked %v range %q", chunked, rng), func(t *testing.T) {
				t.Parallel()
				broken := false
				r, img := withoutSwarm(t, func(w http.ResponseWriter, req *http.Request, data []byte) {
					if broken {
						http.ServeContent(w, req, "", lastModified(&opened{}), bytes.NewReader(data))
						return
					}
					broken = true
					if rng != "" {
						data = data[10:50010]
						w.Header().Set("Content-Range", fmt.Sprintf("bytes 10-50009/%d", len(data)))
					}
					if !chunked {
						w.Header().Set("Content-Length", fmt.Sprint(len(data)))
					}
					if rng != "" {
						w.WriteHeader(http.StatusPartialContent)
					}
					_, _ = w.Write(data[:20_000])
					_ = http.NewResponseController(w).Flush()
					panic(http.ErrAbortHandler)
				})
				want := img.bytes
				if rng != "" {
					want = want[10:50010]
				}
				got := r.do("GET", "/v2/app/blobs/"+img.layer.String(), "Range", rng)
				if got.err != nil || !bytes.Equal(got.body, want) {
					t.Errorf("got %d with %d bytes, %v; want %d", got.StatusCode, len(got.body), got.err, len(want))
				}
			})
		}
	}
}

func TestARelayedBodyWithWrongBytesIsCut(t *testing.T) {
	t.Parallel()
	for _, chunked := range []bool{false, true} {
		t.Run(fmt.Sprintf("chunked %v", chunked), func(t *testing.T) {
			t.Parallel()
			r, img := withoutSwarm(t, func(w http.ResponseWriter, _ *http.Request, data []byte) {
				data = bytes.Clone(data)
				data[len(data)/2] ^= 1
				if !chunked {
					w.Header().Set("Content-Length", fmt.Sprint(len(data)))
				}
				_, _ = w.Write(data)
			})
			if got := r.do("GET", "/v2/app/blobs/"+img.layer.String()); got.err == nil {
				t.Errorf("got %d with all %d bytes, want a cut body", got.StatusCode, len(got.body))
			}
		})
	}
}

func TestAnEncodedBodyIsPassedAsItIs(t *testing.T) {
	t.Parallel()
	r, img := withoutSwarm(t, func(w http.ResponseWriter, _ *http.Request, _ []byte) {
		w.Header().Set("Content-Encoding", "zstd")
		_, _ = w.Write([]byte("packed"))
	})
	got := r.do("GET", "/v2/app/blobs/"+img.layer.String())
	if got.err != nil || string(got.body) != "packed" || got.Header.Get("Content-Encoding") != "zstd" {
		t.Errorf("got %q, %v, %v", got.body, got.Header, got.err)
	}
}

func TestWhenTheOriginIsGoneTheSwarmStillServesWhatIsPublic(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("app", "v1", 20_000, 1)
	other := r.push("app", "v2", 20_000, 1)
	for _, path := range []string{"/manifests/" + img.digest.String(), "/blobs/" + img.layer.String()} {
		r.do("GET", "/v2/app"+path)
	}
	r.do("GET", "/v2/app/blobs/"+other.layer.String(), auth(mine)...) // private: fetched with a credential
	r.origin.Close()
	r.pass(10 * 60 * 1e9)
	// Another node: nothing is complete on this host, the swarm has it.
	r.swarm.set(func() {
		for _, task := range r.swarm.tasks {
			task.local = false
		}
	})
	for _, row := range []struct {
		method, path, cred string
		status             int
	}{
		{"GET", "/v2/", nobody, 200},
		{"HEAD", "/v2/", nobody, 200},
		{"GET", "/v2/app/manifests/" + img.digest.String(), nobody, 200},
		{"HEAD", "/v2/app/manifests/" + img.digest.String(), nobody, 200},
		{"GET", "/v2/app/blobs/" + img.layer.String(), nobody, 200},
		{"HEAD", "/v2/app/blobs/" + img.layer.String(), nobody, 200},
		{"GET", "/v2/app/blobs/" + img.layer.String(), mine, 200},
		{"GET", "/v2/app/blobs/" + other.layer.String(), nobody, 502},
		{"GET", "/v2/app/blobs/" + other.layer.String(), yours, 502},
		{"HEAD", "/v2/app/blobs/" + other.layer.String(), yours, 502},
		{"GET", "/v2/app/blobs/" + sum256, nobody, 502},
		{"GET", "/v2/app/manifests/v1", nobody, 502},
		{"GET", "/v2/app/tags/list", nobody, 502},
	} {
		got := r.do(row.method, row.path, auth(row.cred)...)
		if got.StatusCode != row.status {
			t.Errorf("%s %s with %q: got %d %s, want %d", row.method, row.path, row.cred, got.StatusCode, got.body, row.status)
		}
		if row.status == 502 && row.method == "GET" && !strings.Contains(string(got.body), `"code":"UNAVAILABLE"`) {
			t.Errorf("%s: body %q", row.path, got.body)
		}
	}
}
