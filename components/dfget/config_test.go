package dfget

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	emptySHA = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	emptyMD5 = "d41d8cd98f00b204e9800998ecf8427e"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change  func(*Config)
		wantErr string
	}{
		"the least there is":          {func(*Config) {}, ""},
		"everything at once":          {func(c *Config) { c.Digests, c.MD5, c.Header = []string{emptySHA}, emptyMD5, []string{"A: b", "c:"} }, ""},
		"no URL":                      {func(c *Config) { c.URL = "" }, `say what to get by "url"`},
		"a URL without scheme":        {func(c *Config) { c.URL = "example.com/f" }, "want http://"},
		"a file URL":                  {func(c *Config) { c.URL = "file:///etc/passwd" }, "want http://"},
		"a URL without host":          {func(c *Config) { c.URL = "http:///f" }, "want http://"},
		"a broken URL with password":  {func(c *Config) { c.URL = "http://u:hunter2@h/%zz" }, "want http://"},
		"a URL without a name":        {func(c *Config) { c.URL = "http://h/" }, "the URL names no file"},
		"a URL of a host only":        {func(c *Config) { c.URL = "http://h" }, "the URL names no file"},
		"the same with an output":     {func(c *Config) { c.URL, c.Output = "http://h", "f" }, ""},
		"an unknown pattern":          {func(c *Config) { c.Pattern = "P2P" }, `"P2P" is none of`},
		"no source left":              {func(c *Config) { c.Pattern, c.NoOrigin = "source", true }, "leave nowhere"},
		"two kinds of progress":       {func(c *Config) { c.Bar, c.Lines = true, true }, "exclude each other"},
		"a digest cut short":          {func(c *Config) { c.Digests = []string{emptySHA[:70]} }, "is no digest"},
		"a digest without algorithm":  {func(c *Config) { c.Digests = []string{emptySHA[7:]} }, "is no digest"},
		"an unknown algorithm":        {func(c *Config) { c.Digests = []string{"crc32:00000000"} }, "is no digest"},
		"an MD5 that is none":         {func(c *Config) { c.MD5 = "xyz" }, "is no digest"},
		"an empty digest":             {func(c *Config) { c.Digests = []string{""} }, "is no digest"},
		"a header without colon":      {func(c *Config) { c.Header = []string{"Bearer hunter2"} }, "want NAME:VALUE"},
		"a header with a line break":  {func(c *Config) { c.Header = []string{"A: b\r\nHost: hunter2"} }, "want NAME:VALUE"},
		"a header with a bad name":    {func(c *Config) { c.Header = []string{"A b: c"} }, "want NAME:VALUE"},
		"a header without name":       {func(c *Config) { c.Header = []string{": hunter2"} }, "want NAME:VALUE"},
		"the Host header":             {func(c *Config) { c.Header = []string{"host: x"} }, "Host is the URL's"},
		"the Range header":            {func(c *Config) { c.Header = []string{"range: bytes=0-1"} }, "Range is not supported"},
		"a certificate without a key": {func(c *Config) { c.Hosts = origin.Options{Cert: []string{"h=c"}} }, "registry-cert"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := Default()
			c.URL = "http://h/dir/file.tgz?x=y"
			tc.change(&c)
			err := c.Validate()
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Fatalf("Validate: got %v, want %q", err, tc.wantErr)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("Validate: the error tells a secret: %v", err)
			}
		})
	}
}

func TestOutputIsNamedByTheURL(t *testing.T) {
	t.Parallel()
	c := Default()
	c.URL = "http://h/dir/file.tgz?x=y/z"
	if err := c.Validate(); err != nil || c.Output != "file.tgz" {
		t.Errorf("got %q, %v, want file.tgz", c.Output, err)
	}
}

func TestRequest(t *testing.T) {
	t.Parallel()
	c := Default()
	c.URL, c.Tag, c.NoOrigin = "http://h/f", "tag", true
	c.Header = []string{"accept: a", "Accept:b", "X-Empty:"}
	c.Filters = []string{"sign&key", "key", "expires, sign", "&"}
	c.MD5, c.Digests = emptyMD5, []string{emptySHA}
	got, err := c.request()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"expires", "key", "sign"}, got.Filters); diff != "" {
		t.Errorf("filters (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string(http.Header{"Accept": {"a", "b"}, "X-Empty": {""}}), got.Header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	if got.Digest != emptySHA || got.Tag != "tag" || got.Pattern != "p2p" || !got.NoOrigin {
		t.Errorf("got %+v", got)
	}
}

func TestTheLowerLimitCounts(t *testing.T) {
	t.Parallel()
	for limits, want := range map[[2]int64]int64{{0, 0}: 0, {5, 0}: 5, {0, 5}: 5, {3, 5}: 3, {5, 3}: 3} {
		c := Config{Limit: limits[0], TotalLimit: limits[1]}
		if got := c.limit(); got != want {
			t.Errorf("limits %v: got %d, want %d", limits, got, want)
		}
	}
}

func TestChecker(t *testing.T) {
	t.Parallel()
	const hello = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	c := Config{Digests: []string{hello}, MD5: "5d41402abc4b2a76b9719d911017c592"}
	want, err := c.wanted()
	if err != nil {
		t.Fatal(err)
	}
	sums := newChecker(want)
	_, _ = sums.Write([]byte("wrong"))
	if err := sums.check(); err == nil {
		t.Error("wrong content passes")
	}
	sums.reset()
	if err := sums.readAll(strings.NewReader("hel")); err != nil {
		t.Fatal(err)
	}
	_, _ = sums.Write([]byte("lo"))
	if err := sums.check(); err != nil {
		t.Errorf("right content: %v", err)
	}
	want[1].sum[0]++
	if err := sums.check(); err == nil || !strings.Contains(err.Error(), "md5:5d41") {
		t.Errorf("one of two digests is wrong: got %v", err)
	}
}

func FuzzHeaderAndDigest(f *testing.F) {
	f.Add("Accept: x", emptySHA)
	f.Add("a:b\r\nc:d", "md5:"+emptyMD5)
	f.Add(":", "sha512:")
	f.Fuzz(func(t *testing.T, line, sum string) {
		c := Config{URL: "http://h/f", Header: []string{line}, Digests: []string{sum}}
		if h, err := c.header(); err == nil {
			var b strings.Builder
			if err := h.Write(&b); err != nil || strings.Count(b.String(), "\r\n") != 1 {
				t.Errorf("header %q is sent as %q", line, b.String())
			}
		}
		if want, err := c.wanted(); err == nil && want[0].String() != strings.ToLower(sum) {
			t.Errorf("digest %q is read as %q", sum, want[0])
		}
	})
}
