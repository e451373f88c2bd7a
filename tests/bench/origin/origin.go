// Package origin runs the server that the content comes from: nginx, which answers requests for blobs as a registry does, and whose access
// log is the witness for what it was asked.
package origin

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"github.com/dragonfly-kube/dragonfly/tests/process"
)

// Port of the server.
const Port = 5000

// configuration of nginx; see https://nginx.org/en/docs/. A blob's file has its digest's hexadecimal digits for a name.
const configuration = `daemon off; master_process off; pid %[1]s/nginx.pid; error_log stderr warn;
events { worker_connections 1024; }
http {
  log_format bench '$request_method $status $body_bytes_sent $request_uri';
  access_log %[1]s/access.log bench;
  client_body_temp_path %[1]s/tmp; proxy_temp_path %[1]s/tmp; fastcgi_temp_path %[1]s/tmp; uwsgi_temp_path %[1]s/tmp; scgi_temp_path %[1]s/tmp;
  sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream;
  server {
    listen %[2]s:%[3]d;
    location = /v2/ { add_header Docker-Distribution-Api-Version registry/2.0; return 200; }
    location ~ ^/v2/.+/blobs/sha256:(?<hex>[0-9a-f]+)$ {
      add_header Docker-Content-Digest sha256:$hex;
      root %[1]s/blobs; try_files /$hex =404;
    }
  }
}
`

// Origin is a running server.
type Origin struct {
	// Addr is "ip:port".
	Addr string
	dir  string
	proc *process.Process
}

// Start starts the server on an address, with its files in dir. via is the beginning of its command line, nil for none.
func Start(ctx context.Context, dir, ip string, via []string) (*Origin, error) {
	program, err := exec.LookPath("nginx")
	if err != nil {
		return nil, errors.New("nginx is missing (Debian: apt-get install nginx-light)")
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs"), 0o755); err != nil {
		return nil, fmt.Errorf("start the origin: %w", err)
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, configuration, dir, ip, Port), 0o600); err != nil {
		return nil, fmt.Errorf("start the origin: %w", err)
	}
	args := append(slices.Clone(via), program, "-e", "stderr", "-p", dir, "-c", config)
	p, err := process.Start(process.Spec{Name: "the origin", Program: args[0], Args: args[1:], Log: filepath.Join(dir, "nginx.log")})
	if err != nil {
		return nil, err
	}
	o := &Origin{Addr: fmt.Sprintf("%s:%d", ip, Port), dir: dir, proc: p}
	if err := p.Ready(ctx, o.URL()+"/v2/"); err != nil {
		p.Stop()
		return nil, err
	}
	return o, nil
}

// URL of the registry.
func (o *Origin) URL() string { return "http://" + o.Addr }

// PID of the server.
func (o *Origin) PID() int { return o.proc.PID() }

// Stop ends the server.
func (o *Origin) Stop() { o.proc.Stop() }

// Blob is content that the origin serves.
type Blob struct {
	Size int64
	// Hex digits of its SHA-256.
	Hex string
}

// Path at the origin, and at every mirror of it.
func (b Blob) Path() string { return "/v2/bench/blobs/sha256:" + b.Hex }

// File of the blob.
func (o *Origin) File(b Blob) string { return filepath.Join(o.dir, "blobs", b.Hex) }

// Add makes a blob that no program has seen before and that does not compress.
func (o *Origin) Add(size int64) (Blob, error) {
	blob := Blob{Size: size}
	f, err := os.CreateTemp(o.dir, "new-")
	if err != nil {
		return blob, fmt.Errorf("make content: %w", err)
	}
	defer f.Close()
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	h := sha256.New()
	if _, err := io.CopyBuffer(io.MultiWriter(f, h), io.LimitReader(rand.NewChaCha8(seed), size), make([]byte, 1<<20)); err != nil {
		return blob, fmt.Errorf("make content: %w", err)
	}
	blob.Hex = hex.EncodeToString(h.Sum(nil))
	if err := errors.Join(f.Chmod(0o644), f.Close(), os.Rename(f.Name(), o.File(blob))); err != nil {
		return blob, fmt.Errorf("make content: %w", err)
	}
	return blob, nil
}

// Remove removes a blob.
func (o *Origin) Remove(b Blob) error { return os.Remove(o.File(b)) }

// answers reports whether a blob's status is a success with content.
func answers(status int) bool { return status == http.StatusOK || status == http.StatusPartialContent }
