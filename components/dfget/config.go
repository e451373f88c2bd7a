// Package dfget is the program that downloads one file through the swarm: by the host's dfdaemon when there is one, else as a peer of
// its own for as long as it runs.
package dfget

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
)

// Config of one download. Default has the defaults.
type Config struct {
	// URL of the file, http or https.
	URL string
	// Output is the file to write, "-" for standard output; "" means the last element of the URL's path.
	Output string
	// Header are "Name: value" lines for the origin.
	Header []string
	// Digests of the whole content, "algorithm:hex", all of which it has to have: sha256, sha384, sha512 or md5.
	Digests []string
	// MD5 is one more digest, its hex digits only.
	MD5 string
	// Filters are query parameters that don't count for what the content is, joined by commas or ampersands.
	Filters []string
	// Tag sets contents of one URL apart.
	Tag string
	// Pattern is "p2p", "cdn" (the seed only) or "source" (the origin only).
	Pattern string
	// NoOrigin forbids to go to the origin from here.
	NoOrigin bool
	// Timeout for all of it; 0 means none.
	Timeout time.Duration
	// Limit and TotalLimit bound the rate in bytes a second; the lower one counts, 0 is none.
	Limit, TotalLimit int64

	// Socket of the host's dfdaemon; "" means to do without.
	Socket string
	// Supernodes are HOST or HOST:PORT. They, and what follows, serve where there is no dfdaemon.
	Supernodes []string
	// SecretFile holds the cluster secret, "" means none.
	SecretFile string
	// Insecure serves pieces to other machines without a secret.
	Insecure bool
	// SupernodeCA is a PEM file; with it the supernodes are spoken to over TLS.
	SupernodeCA string
	// Hosts says how single origins are reached.
	Hosts origin.Options

	// Bar and Lines choose how progress is shown; neither means a bar on a terminal, else lines.
	Bar, Lines bool
}

// Default is the configuration of a program without options.
func Default() Config {
	return Config{Socket: api.SocketPath, Pattern: api.PatternP2P}
}

// Validate says what in c can't work, and completes what follows from the rest.
func (c *Config) Validate() error {
	u, err := c.parseURL()
	if err != nil {
		return err
	}
	if c.Output == "" {
		if c.Output = path.Base(u.Path); c.Output == "." || c.Output == "/" {
			return errors.New(`the URL names no file; say where to save it by "output", or "-" for standard output`)
		}
	}
	if !slices.Contains([]string{api.PatternP2P, api.PatternCDN, api.PatternSource}, c.Pattern) {
		return fmt.Errorf("option %q: %q is none of p2p, cdn, source", "pattern", c.Pattern)
	}
	if c.Pattern == api.PatternSource && c.NoOrigin {
		return errors.New(`options "pattern" source and "notbs" leave nowhere to get the file from`)
	}
	if c.Bar && c.Lines {
		return errors.New(`options "showbar" and "console" exclude each other`)
	}
	if _, err := c.wanted(); err != nil {
		return err
	}
	if _, err = c.header(); err != nil {
		return err
	}
	return c.Hosts.Apply(&origin.Config{})
}

// parseURL never repeats the URL, which may hold a password.
func (c *Config) parseURL() (*url.URL, error) {
	if c.URL == "" {
		return nil, errors.New(`say what to get by "url"`)
	}
	u, err := url.Parse(c.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("option %q: want http://host/path or https://host/path", "url")
	}
	return u, nil
}

// filters are the single names.
func (c *Config) filters() []string {
	var names []string
	for _, text := range c.Filters {
		names = append(names, strings.FieldsFunc(text, func(r rune) bool { return r == '&' || r == ',' || r == ' ' })...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// header reads the lines. Its errors don't repeat values, which may be secret.
func (c *Config) header() (http.Header, error) {
	h := http.Header{}
	for _, line := range c.Header {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch {
		case !ok || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value):
			return nil, fmt.Errorf("option %q: want NAME:VALUE", "header")
		case http.CanonicalHeaderKey(name) == "Host":
			return nil, fmt.Errorf("option %q: Host is the URL's", "header")
		case http.CanonicalHeaderKey(name) == "Range":
			return nil, fmt.Errorf("option %q: Range is not supported, files are downloaded whole", "header")
		}
		h.Add(name, value)
	}
	return h, nil
}

// request is what is asked of a dfdaemon or an engine.
func (c *Config) request() (api.FetchRequest, error) {
	h, err := c.header()
	if err != nil {
		return api.FetchRequest{}, err
	}
	req := api.FetchRequest{
		URL: c.URL, Header: h, Tag: c.Tag, Filters: c.filters(), Pattern: c.Pattern, NoOrigin: c.NoOrigin,
	}
	sums, err := c.wanted()
	if len(sums) > 0 {
		req.Digest = sums[0].String()
	}
	return req, err
}

// limit is the rate to keep to, in bytes a second, 0 for none.
func (c *Config) limit() int64 {
	if c.Limit == 0 || c.TotalLimit == 0 {
		return max(c.Limit, c.TotalLimit)
	}
	return min(c.Limit, c.TotalLimit)
}
