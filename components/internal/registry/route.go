package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"

	_ "crypto/sha512" // digests of that kind are valid in images

	"github.com/dragonfly-kube/dragonfly/components/internal/registry/upstream"
)

type kind int

const (
	ping kind = iota
	list      // tags, referrers, catalog
	tag
	manifest
	blob
)

func (k kind) String() string { return [...]string{"ping", "list", "tag", "manifest", "blob"}[k] }

// route is a request's path understood: https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints
type route struct {
	kind   kind
	repo   string        // "" for ping and catalog
	tag    string        // for tag
	digest digest.Digest // for manifest and blob
	path   string        // below the API's root, put together anew from checked parts
}

var (
	errUnknownPath = errors.New("no such path in the registry API")
	errName        = errors.New("invalid repository name")
	errDigest      = errors.New("invalid digest")
	errTag         = errors.New("invalid tag")
)

// parseRoute reads a path below the API's root, decoded, without a leading slash.
func parseRoute(p string) (route, error) {
	switch p {
	case "":
		return route{kind: ping}, nil
	case "_catalog":
		return route{kind: list, path: p}, nil
	}
	parts := strings.Split(p, "/")
	if len(parts) < 3 {
		return route{}, errUnknownPath
	}
	repo, what, ref := strings.Join(parts[:len(parts)-2], "/"), parts[len(parts)-2], parts[len(parts)-1]
	r := route{kind: list, repo: repo, path: repo + "/" + what + "/" + ref}
	if !validRepo(repo) {
		return route{}, fmt.Errorf("%w %.80q", errName, repo)
	}
	switch {
	case what == "tags" && ref == "list":
		return r, nil
	case what == "manifests" && !strings.Contains(ref, ":"):
		r.kind, r.tag = tag, ref
		if ref == "" || len(ref) > 128 || reference.TagRegexp.FindString(ref) != ref {
			return route{}, fmt.Errorf("%w %.80q", errTag, ref)
		}
		return r, nil
	case what == "manifests":
		r.kind = manifest
	case what == "blobs":
		r.kind = blob
	case what != "referrers":
		return route{}, errUnknownPath
	}
	d, err := digest.Parse(ref)
	if err != nil {
		return route{}, fmt.Errorf("%w %.80q: %w", errDigest, ref, err)
	}
	r.digest = d
	return r, nil
}

// validRepo checks against the grammar of distribution/reference, which knows names with a host only: so it gets one.
func validRepo(repo string) bool {
	const host = "host.invalid/"
	_, err := reference.WithName(host + repo)
	return err == nil && len(repo) <= reference.RepositoryNameTotalLengthMax
}

// resolve finds what r asks for and of which upstream: the one in ?ns=, as containerd sends it, else the host that begins the path, as
// CRI-O and Podman are told to put it there, else the default.
func resolve(p *upstream.Policy, r *http.Request) (route, upstream.Upstream, error) {
	where := r.URL.Path
	if where == "/v2" {
		where += "/" // Docker asks so
	}
	rest, ok := strings.CutPrefix(where, "/v2/")
	if !ok {
		return route{}, upstream.Upstream{}, errUnknownPath
	}
	if ns := r.URL.Query()["ns"]; len(ns) > 0 {
		if len(ns) > 1 {
			return route{}, upstream.Upstream{}, fmt.Errorf("%w: more than one ns in the query", errName)
		}
		up, err := p.Named(ns[0])
		if err != nil {
			return route{}, up, err
		}
		rt, err := parseRoute(rest)
		return rt, up, err
	}
	if first, inner, ok := strings.Cut(rest, "/"); ok && upstream.LooksLikeHost(first) {
		// A repository of the default upstream may have a dot in its name, too. It then stands where a host leaves nothing behind it.
		if rt, err := parseRoute(inner); err == nil || !errors.Is(err, errUnknownPath) {
			up, uerr := p.Named(first)
			return rt, up, errors.Join(uerr, err)
		}
	}
	rt, err := parseRoute(rest)
	return rt, p.Default(), err
}
