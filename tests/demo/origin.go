package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/time/rate"
)

// origin is a registry on loopback whose link has a limit, as every registry's link has, and which counts what it sends.
type origin struct {
	addr    string
	dir     string // layers, in files named after their digests
	handler http.Handler
	server  *http.Server
	link    *rate.Limiter

	mu    sync.Mutex // guards the fields below
	blobs map[string]*sent
	other int // requests for anything but a blob
}

// sent is what the registry sent of one blob.
type sent struct {
	requests int
	bytes    int64
}

// Get and Stat serve the layers from their files: registry.BlobHandler and registry.BlobStatHandler.
func (o *origin) Get(_ context.Context, _ string, h v1.Hash) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(o.dir, h.Hex))
	if os.IsNotExist(err) {
		return nil, registry.ErrNotFound
	}
	return f, err
}

func (o *origin) Stat(_ context.Context, _ string, h v1.Hash) (int64, error) {
	info, err := os.Stat(filepath.Join(o.dir, h.Hex))
	if os.IsNotExist(err) {
		return 0, registry.ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// Put takes the image's config: registry.BlobPutHandler.
func (o *origin) Put(_ context.Context, _ string, h v1.Hash, rc io.ReadCloser) error {
	defer rc.Close()
	f, err := os.Create(filepath.Join(o.dir, h.Hex))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.Copy(f, rc); err != nil {
		return err
	}
	return f.Close()
}

// startOrigin serves dir on a free port of host. bytesPerSecond limits what it sends in all.
func startOrigin(ctx context.Context, host, dir string, bytesPerSecond int) (*origin, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return nil, fmt.Errorf("start the registry: %w", err)
	}
	o := &origin{
		addr:  l.Addr().String(),
		dir:   dir,
		link:  rate.NewLimiter(rate.Limit(bytesPerSecond), 256<<10),
		blobs: map[string]*sent{},
	}
	o.handler = registry.New(registry.WithBlobHandler(o), registry.Logger(log.New(io.Discard, "", 0)))
	o.server = &http.Server{Handler: o, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = o.server.Serve(l) }() // ends with Close
	return o, nil
}

func (o *origin) Close() error { return o.server.Close() }

// push puts the image's manifest and config where the layers are, and forgets the requests that this took.
func (o *origin) push(ctx context.Context, repository string, img v1.Image) (name.Tag, error) {
	tag, err := name.NewTag(o.addr+"/"+repository, name.Insecure)
	if err != nil {
		return tag, err
	}
	if err := remote.Write(tag, img, remote.WithContext(ctx)); err != nil {
		return tag, fmt.Errorf("push the demo image: %w", err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	clear(o.blobs)
	o.other = 0
	return tag, nil
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	blob := ""
	if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:") {
		blob = strings.TrimPrefix(path.Base(r.URL.Path), "sha256:")
	}
	o.count(blob, 1, 0)
	o.handler.ServeHTTP(&countingWriter{ResponseWriter: w, ctx: r.Context(), origin: o, blob: blob}, r)
}

func (o *origin) count(blob string, requests int, bytes int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if blob == "" {
		o.other += requests
		return
	}
	s := o.blobs[blob]
	if s == nil {
		s = &sent{}
		o.blobs[blob] = s
	}
	s.requests += requests
	s.bytes += bytes
}

// totals are the requests for blobs, the bytes sent of them, and the other requests.
func (o *origin) totals() (requests int, bytes int64, other int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range o.blobs {
		requests += s.requests
		bytes += s.bytes
	}
	return requests, bytes, o.other
}

// countingWriter counts and slows down what is sent. It hides the connection's ReadFrom, so that every byte passes Write.
type countingWriter struct {
	http.ResponseWriter
	ctx    context.Context //nolint:containedctx // of the one request that the writer answers
	origin *origin
	blob   string
}

func (w *countingWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		chunk := p[:min(len(p), w.origin.link.Burst())]
		if err := w.origin.link.WaitN(w.ctx, len(chunk)); err != nil {
			return written, err
		}
		n, err := w.ResponseWriter.Write(chunk)
		w.origin.count(w.blob, 0, int64(n))
		written += n
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}
