package registry

import (
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// pull reads every byte of an image through the mirror by a real client, which checks each digest.
func (r *rig) pull(repo string, opts ...remote.Option) (v1.Hash, error) {
	ref, err := name.ParseReference(r.host()+"/"+repo, name.Insecure)
	if err != nil {
		r.t.Fatal(err)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	img, err := remote.Image(ref, append(opts, remote.WithTransport(transport))...)
	if err != nil {
		return v1.Hash{}, err
	}
	if err := validate.Image(img); err != nil {
		return v1.Hash{}, err
	}
	return img.Digest()
}

func TestARealClientPullsAnOpenImage(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("team/app", "v1", 100_000, 3)
	for range 3 {
		got, err := r.pull("team/app:v1")
		if err != nil || got.String() != img.digest.String() {
			t.Fatalf("pull: got %s, %v; want %s", got, err, img.digest)
		}
	}
	if n := r.origin.count("GET", "/blobs/"); n != 4 {
		t.Errorf("origin GETs of blobs: got %d, want 4: three layers and a config, once each; log %q", n, r.origin.log)
	}
	if n := r.origin.count("HEAD"); n != 0 {
		t.Errorf("origin HEADs: got %d, want none", n)
	}
}

func TestARealClientPullsAPrivateImage(t *testing.T) {
	t.Parallel()
	basic := "Basic dXNlcjpzZWNyZXQ=" // user:secret
	for _, scheme := range []string{"Basic", "Bearer"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			img := r.push("team/app", "v1", 100_000, 3)
			r.origin.set(func() {
				r.origin.scheme = scheme
				r.origin.allow = func(auth, repo string) bool { return auth == basic || auth == "Bearer user:"+repo }
			})
			good := remote.WithAuth(&authn.Basic{Username: "user", Password: "secret"})
			for range 2 {
				got, err := r.pull("team/app:v1", good)
				if err != nil || got.String() != img.digest.String() {
					t.Fatalf("pull: got %s, %v; want %s", got, err, img.digest)
				}
			}
			if n := r.origin.count("GET", "/blobs/"); n != 4 {
				t.Errorf("origin GETs of blobs: got %d, want 4", n)
			}
			if n := r.origin.count("HEAD"); n != 0 {
				t.Errorf("origin HEADs: got %d, want none: the manifest is the proof", n)
			}
			for what, opt := range map[string]remote.Option{
				"nothing":        remote.WithAuth(authn.Anonymous),
				"wrong password": remote.WithAuth(&authn.Basic{Username: "user", Password: "wrong"}),
			} {
				if _, err := r.pull("team/app:v1", opt); err == nil {
					t.Errorf("pull with %s: got the image, want an error", what)
				}
			}
		})
	}
}

func TestCraneCopiesThroughTheMirrorByHostInThePath(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	img := r.push("team/app", "v1", 10_000, 2)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	got, err := crane.Pull(r.host()+"/origin.test/team/app:v1", crane.Insecure, crane.WithTransport(transport))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := got.Digest(); err != nil || d.String() != img.digest.String() {
		t.Errorf("got %s, %v; want %s", d, err, img.digest)
	}
	if err := validate.Image(got); err != nil {
		t.Error(err)
	}
}
