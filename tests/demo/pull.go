package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sync/errgroup"
)

// layersAtOnce is how many layers a client fetches at once: what Docker and containerd do by default.
const layersAtOnce = 3

// pull is one client's pull of the whole image. The counters may be read while it runs.
type pull struct {
	digest    v1.Hash      // of the manifest
	layers    atomic.Int32 // verified so far
	total     atomic.Int64 // bytes of all layers, known after the manifest
	bytes     atomic.Int64 // read so far
	firstByte atomic.Int64 // of the first layer, nanoseconds after the start
	took      atomic.Int64 // nanoseconds, once it has ended
}

// run pulls ref through the registry that its name says, with nothing stored: every blob is read to its end, and the client
// library fails a blob whose sha256 is not its name. auth is for the registry behind the mirror.
func (p *pull) run(ctx context.Context, ref name.Reference, auth authn.Authenticator) error {
	start := time.Now()
	defer func() { p.took.Store(int64(time.Since(start))) }()
	g, ctx := errgroup.WithContext(ctx) // the layers below are read under ctx: one that fails ends the others
	g.SetLimit(layersAtOnce)
	transport := remote.DefaultTransport.(*http.Transport).Clone()
	defer transport.CloseIdleConnections()
	img, err := remote.Image(ref, remote.WithContext(ctx), remote.WithTransport(transport), remote.WithAuth(auth))
	if err != nil {
		return fmt.Errorf("pull the manifest: %w", err)
	}
	if p.digest, err = img.Digest(); err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	if _, err := img.RawConfigFile(); err != nil {
		return fmt.Errorf("pull the config: %w", err)
	}
	layers, err := img.Layers()
	if err != nil {
		return fmt.Errorf("read the manifest: %w", err)
	}
	if err := p.sum(layers); err != nil {
		return err
	}
	for i, l := range layers {
		g.Go(func() error {
			if err := p.read(l, start); err != nil {
				return fmt.Errorf("pull layer %d of %d: %w", i+1, len(layers), err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (p *pull) sum(layers []v1.Layer) error {
	for _, l := range layers {
		size, err := l.Size()
		if err != nil {
			return fmt.Errorf("read the manifest: %w", err)
		}
		p.total.Add(size)
	}
	return nil
}

func (p *pull) read(l v1.Layer, start time.Time) error {
	rc, err := l.Compressed()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, &meter{r: rc, pull: p, start: start})
	if err = errors.Join(err, rc.Close()); err == nil {
		p.layers.Add(1)
	}
	return err
}

// meter counts what is read of a layer.
type meter struct {
	r     io.Reader
	pull  *pull
	start time.Time
}

func (m *meter) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	if n > 0 {
		m.pull.firstByte.CompareAndSwap(0, int64(time.Since(m.start)))
		m.pull.bytes.Add(int64(n))
	}
	return n, err
}
