package supernode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
	"github.com/dragonfly-kube/dragonfly/components/internal/swarm"
	"github.com/dragonfly-kube/dragonfly/components/internal/upload"
)

// originReader gives the seed what it needs of an origin.Client.
type originReader struct{ client *origin.Client }

// Fetch implements seed.Origin.
func (o originReader) Fetch(ctx context.Context, req seed.Request, need []seed.Range, sink seed.Sink) error {
	var ranges []origin.Range
	if need != nil {
		ranges = make([]origin.Range, 0, len(need))
		for _, r := range need {
			ranges = append(ranges, origin.Range{Off: r.Off, N: r.Len})
		}
	}
	err := o.client.Fetch(ctx, origin.Request{URL: req.URL, Header: req.Header, Immutable: req.Immutable}, ranges, sinkFor{sink})
	if status, ok := errors.AsType[*origin.StatusError](err); ok && refusal(status.Code) {
		return &seed.Refused{Status: status.Code, Err: err}
	}
	if errors.Is(err, origin.ErrChanged) {
		return fmt.Errorf("%w: %w", seed.ErrInvalid, err)
	}
	return err
}

// Probe implements seed.Origin. It asks for one byte on conditions, since not every file server knows HEAD.
func (o originReader) Probe(ctx context.Context, req seed.Request, etag, modified string) (seed.Info, bool, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, req.URL, nil)
	if err != nil {
		return seed.Info{}, false, errors.New("probe the origin: its URL can't be read") // which may hold a secret
	}
	if req.Header != nil {
		r.Header = req.Header.Clone()
	}
	for _, name := range []string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"} {
		r.Header.Del(name)
	}
	r.Header.Set("Range", "bytes=0-0")
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	} else {
		r.Header.Set("If-Modified-Since", modified)
	}
	resp, err := o.client.Do(ctx, r)
	if err != nil {
		return seed.Info{}, false, fmt.Errorf("probe the origin: %w", err)
	}
	defer resp.Body.Close()
	info := seed.Info{Length: -1, Header: resp.Header}
	switch {
	case resp.StatusCode == http.StatusNotModified:
		return info, true, nil
	case resp.StatusCode == http.StatusOK:
		info.Length = resp.ContentLength
		return info, false, nil
	case resp.StatusCode == http.StatusPartialContent, resp.StatusCode == http.StatusRequestedRangeNotSatisfiable: // the latter for no bytes at all
		return info, false, nil
	case refusal(resp.StatusCode):
		return info, false, &seed.Refused{Status: resp.StatusCode}
	}
	return info, false, fmt.Errorf("probe the origin: it answered %d", resp.StatusCode)
}

// refusal tells answers about this request from those about the origin's state.
func refusal(code int) bool {
	return code >= 400 && code < 500 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout
}

type sinkFor struct{ seed.Sink }

// Start implements origin.Sink.
func (s sinkFor) Start(i origin.Info) error {
	return s.Sink.Start(seed.Info{Length: i.Length, Header: i.Header, Identified: i.Identified})
}

// Part implements origin.Sink.
func (s sinkFor) Part(off, _ int64) (origin.PartWriter, error) { return s.Sink.Part(off) }

// picker gives the piece server what it needs of the swarm.
type picker struct{ swarm *swarm.Swarm }

// Pick implements upload.Picker.
func (p picker) Pick(ctx context.Context, task string, limit int64) (off, n int64, err error) {
	off, n, err = p.swarm.Pick(ctx, task, limit)
	switch {
	case errors.Is(err, swarm.ErrNothingFresh):
		return 0, 0, upload.ErrNothingFresh
	case errors.Is(err, swarm.ErrUnknownTask):
		return 0, 0, store.ErrNotFound
	}
	return off, n, err
}

// Return implements upload.Picker.
func (p picker) Return(task string, off, n int64) { p.swarm.Return(task, off, n) }

// maxManifest bounds a manifest from a peer, in bytes: a hundred for each of 65,536 pieces, a terabyte of content.
const maxManifest = 8 << 20

// manifests asks hosts for the digests of what they hold.
type manifests struct{ client *http.Client }

func newManifests() manifests {
	return manifests{&http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Manifest implements swarm.Manifests.
func (m manifests) Manifest(ctx context.Context, host api.Host, task, ticket string) (out api.TaskManifest, err error) {
	err = errors.New("the host has no address")
	for _, addr := range host.Addrs {
		if out, err = m.from(ctx, addr, task, ticket); err == nil || ctx.Err() != nil {
			break
		}
	}
	return out, err
}

func (m manifests) from(ctx context.Context, addr, task, ticket string) (out api.TaskManifest, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+api.ManifestPath(task), nil)
	if err != nil {
		return out, fmt.Errorf("ask %s for a manifest: %w", addr, err)
	}
	req.Header.Set(api.HeaderTicket, ticket)
	resp, err := m.client.Do(req)
	if err != nil {
		return out, fmt.Errorf("ask %s for a manifest: %w", addr, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return out, fmt.Errorf("ask %s for a manifest: it answered %s", addr, resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxManifest)).Decode(&out); err != nil {
		return out, fmt.Errorf("decode the manifest of %s: %w", addr, err)
	}
	return out, nil
}

// probeEvery is how long an answer of the prober holds, so that no one can make the disk busy through it.
const probeEvery = time.Second

// prober remembers what a check said.
type prober struct {
	check func() error
	mu    sync.Mutex // guards the fields below
	at    time.Time
	last  error
}

func (p *prober) err(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at.IsZero() || now.Sub(p.at) >= probeEvery {
		p.last, p.at = p.check(), now
	}
	return p.last
}

func stack() string { return string(debug.Stack()) }
