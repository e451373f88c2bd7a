// Package localapi is how programs on one host ask its dfdaemon for content: a handler for dfdaemon's Unix socket, and the client of
// dfget. See api.PathFetch for the wire.
package localapi

import (
	"context"
	"io"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

// Fetcher opens content. The handler serves one, and the client is one. Safe for concurrent use.
type Fetcher interface {
	// Fetch joins or starts a download and returns once the content's headers are known; ctx covers the body too. Errors hold an
	// *api.Error that says who failed, where anybody knows. The caller closes the content.
	Fetch(ctx context.Context, req api.FetchRequest) (*Content, error)
}

// Content is a content on its way.
type Content struct {
	// Task is its id.
	Task string
	// Length of the whole in bytes, whatever the offset; -1 if nobody knows.
	Length int64
	// Header holds the origin's representation headers: Content-Type, Etag, Last-Modified.
	Header map[string]string
	// Body gives the bytes from the request's offset on, as they come. It may implement io.WriterTo. Its errors are like Fetch's.
	Body io.ReadCloser
	// Shares tells where the bytes received so far came from.
	Shares func() api.Shares
}
