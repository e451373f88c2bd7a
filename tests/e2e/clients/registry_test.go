//go:build e2e

package clients

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/dragonfly-kube/dragonfly/tests/process"
)

// registryConfig is docker-registry's configuration: files in one folder, an access log in Apache's combined format on the
// standard output, nothing else.
const registryConfig = `version: 0.1
log: {level: warn, accesslog: {disabled: false}}
storage:
  filesystem: {rootdirectory: %q}
  cache: {blobdescriptor: inmemory}
http: {addr: %q}
`

// registry is Debian's docker-registry. Its access log is the witness for what the origin was asked.
type registry struct {
	*process.Process
	addr string
	log  string
}

func startRegistry(t *testing.T, addr, dir, logs string) *registry {
	t.Helper()
	config := filepath.Join(dir, "registry.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, registryConfig, filepath.Join(dir, "registry"), addr), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &registry{addr: addr, log: filepath.Join(logs, "registry-access.log")}
	r.Process = run(t, process.Spec{
		Name: "docker-registry", Program: "docker-registry", Args: []string{"serve", config},
		Log: filepath.Join(logs, "registry.log"), Stdout: r.log, Unset: []string{"REGISTRY_", "OTEL_"},
	})
	if err := r.Ready(t.Context(), "http://"+addr+"/v2/"); err != nil {
		t.Fatal(err)
	}
	return r
}

// gets is what the registry answered to GETs of one blob or manifest.
type gets struct {
	requests int
	bytes    int64
}

// mark is a place in the access log: what was asked before it does not count.
func (r *registry) mark(t *testing.T) int64 {
	t.Helper()
	info, err := os.Stat(r.log)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// getsSince counts the GETs with a body after the mark, by digest, or by the tag's name.
func (r *registry) getsSince(t *testing.T, mark int64) map[string]gets {
	t.Helper()
	f, err := os.Open(r.log)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Seek(mark, 0); err != nil {
		t.Fatal(err)
	}
	counts := map[string]gets{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if what, bytes, ok := parseAccess(lines.Text()); ok {
			g := counts[what]
			counts[what] = gets{g.requests + 1, g.bytes + bytes}
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return counts
}

var accessLine = regexp.MustCompile(`"GET /v2/\S+/(?:blobs|manifests)/([^ ?]+)\S* HTTP/1\.[01]" 20[06] (\d+) `)

// parseAccess reads one line of the access log: a successful GET of a blob or manifest.
func parseAccess(line string) (what string, bytes int64, ok bool) {
	m := accessLine.FindStringSubmatch(line)
	if m == nil {
		return "", 0, false
	}
	bytes, err := strconv.ParseInt(m[2], 10, 64)
	return m[1], bytes, err == nil
}

func TestAccessLogIsRead(t *testing.T) {
	const digest = "sha256:6d3d1b1a2b0b4a0b2a8d4c1a1f1b1a2b0b4a0b2a8d4c1a1f1b1a2b0b4a0b2a8d"
	tests := map[string]struct {
		line, what string
		bytes      int64
		ok         bool
	}{
		"a whole blob": {
			`127.0.0.1 - - [24/Nov/2026:07:41:00 +0000] "GET /v2/library/app/blobs/` + digest + ` HTTP/1.1" 200 1234 "" "curl/8"`, digest, 1234, true,
		},
		"a part of a blob": {
			`127.0.0.1 - - [24/Nov/2026:07:41:00 +0000] "GET /v2/library/app/blobs/` + digest + `?ns=x HTTP/1.1" 206 10 "" "curl/8"`, digest, 10, true,
		},
		"a tag": {
			`127.0.0.1 - - [24/Nov/2026:07:41:00 +0000] "GET /v2/library/app/manifests/1 HTTP/1.1" 200 527 "" "curl/8"`, "1", 527, true,
		},
		"a question without a body": {
			`127.0.0.1 - - [24/Nov/2026:07:41:00 +0000] "HEAD /v2/library/app/blobs/` + digest + ` HTTP/1.1" 200 1234 "" "curl/8"`, "", 0, false,
		},
		"a refusal": {
			`127.0.0.1 - - [24/Nov/2026:07:41:00 +0000] "GET /v2/library/app/blobs/` + digest + ` HTTP/1.1" 404 157 "" "curl/8"`, "", 0, false,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			what, bytes, ok := parseAccess(tt.line)
			if what != tt.what || bytes != tt.bytes || ok != tt.ok {
				t.Errorf("parseAccess(%q) = %q, %d, %v; want %q, %d, %v", tt.line, what, bytes, ok, tt.what, tt.bytes, tt.ok)
			}
		})
	}
}
