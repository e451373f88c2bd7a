package piece

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
)

// BlobID is the task id of content named by its digest: the digest itself where it is a SHA-256, so that the same layer is one task in
// whatever registry and repository it lies.
func BlobID(d digest.Digest) (string, error) {
	if err := d.Validate(); err != nil && !errors.Is(err, digest.ErrDigestUnsupported) {
		return "", fmt.Errorf("task id of digest %.80q: %w", string(d), err)
	}
	if d.Algorithm() == digest.SHA256 {
		return d.Encoded(), nil
	}
	sum := sha256.Sum256([]byte("digest\n" + string(d)))
	return hex.EncodeToString(sum[:]), nil
}

// urlVersion changes with the canonical form. Peers of two versions don't share their tasks, which is better than sharing wrongly.
const urlVersion = "dragonfly task v1\n"

// URLID is the task id of what an http or https URL names. Query parameters named in filters don't count, say signatures and expiry
// times; nor do user and password, fragment, the order of differently named parameters, and the case of scheme and host. tag sets
// contents of one URL apart; digest is "algorithm:hex" or "". Errors hold no part of the URL but the host, as the rest may be secret.
func URLID(rawURL string, filters []string, tag, contentDigest string) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err // without the URL
		}
		return "", fmt.Errorf("task id of a URL: %w", err)
	}
	scheme := u.Scheme // lower case from url.Parse
	if scheme != "http" && scheme != "https" || u.Hostname() == "" {
		return "", fmt.Errorf("task id of a URL: scheme %q and host %q, want http or https and a host", scheme, u.Hostname())
	}
	params, err := keptParams(u.RawQuery, filters)
	if err != nil {
		return "", fmt.Errorf("task id of a URL on %s: %w", u.Hostname(), err)
	}
	if contentDigest != "" {
		if _, err := BlobID(digest.Digest(contentDigest)); err != nil {
			return "", err
		}
	}
	h := sha256.New()
	fmt.Fprint(h, urlVersion)
	for _, list := range [][]string{{scheme, canonicalHost(u), canonicalPath(u)}, params, {tag, contentDigest}} {
		fmt.Fprintf(h, "%d\n", len(list))
		for _, field := range list { // each after its length, so that no two lists read the same
			fmt.Fprintf(h, "%d %s\n", len(field), field)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// canonicalHost is the lower-case host with its port, unless that is the scheme's own.
func canonicalHost(u *url.URL) string {
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" || u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		return host
	}
	return host + " " + port
}

func canonicalPath(u *url.URL) string {
	if p := u.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// keptParams returns the query's parameters that no filter names, sorted by name. They stay escaped as they are: servers disagree on
// what is the same.
func keptParams(query string, filters []string) ([]string, error) {
	type param struct{ name, raw string }
	var kept []param
	for raw := range strings.SplitSeq(query, "&") {
		if raw == "" {
			continue
		}
		escaped, _, _ := strings.Cut(raw, "=")
		name, err := url.QueryUnescape(escaped)
		if err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
		if !slices.Contains(filters, name) {
			kept = append(kept, param{name, raw})
		}
	}
	slices.SortStableFunc(kept, func(a, b param) int { return strings.Compare(a.name, b.name) })
	raws := make([]string, len(kept))
	for i, p := range kept {
		raws[i] = p.raw
	}
	return raws, nil
}
