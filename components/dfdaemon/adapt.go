package dfdaemon

import (
	"context"
	"io"
	"net/http"

	"github.com/dragonfly-kube/dragonfly/components/internal/origin"
	"github.com/dragonfly-kube/dragonfly/components/internal/registry"
	"github.com/dragonfly-kube/dragonfly/components/internal/transfer"
)

// transfers gives the mirror what it needs of the downloads.
type transfers struct{ *transfer.Manager }

// Open implements registry.Transfers.
func (t transfers) Open(ctx context.Context, spec registry.Spec) (registry.Handle, error) {
	h, err := t.Manager.Open(ctx, transfer.Spec{
		ID: spec.ID, URL: spec.URL, Header: spec.Header, Digest: spec.Digest, Private: spec.Private,
	})
	if err != nil {
		return nil, err
	}
	return h, nil
}

// source gives the mirror what it needs of the origin.
type source struct{ *origin.Client }

// Stream implements registry.Origin.
func (s source) Stream(ctx context.Context, url string, header http.Header, off, n int64) (int64, io.ReadCloser, error) {
	info, body, err := s.Client.Stream(ctx, origin.Request{URL: url, Header: header, Immutable: true}, off, n)
	if err != nil {
		return -1, nil, err
	}
	return info.Length, body, nil
}
