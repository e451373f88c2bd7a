// Package localapi is how programs on one host ask its dfdaemon for content: a handler for dfdaemon's Unix socket, and the client of
// dfget. See api.PathFetch for the wire.
package localapi

import (
	"context"
	"io"
	"os"

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
	// File is the content as a file that may be had instead of a copy; nil where there is none. It goes together with Body.
	File File
}

// File is content whose bytes come into a file of this process.
type File interface {
	// Skip passes over the next bytes of Body, once they are there and verified, and tells how many. It returns io.EOF at the end.
	Skip() (int64, error)
	// Held is how many of those are there already.
	Held() int64
	// Move waits until all of the content is there and verified, writes it to the disk and gives it the name path, in place of another
	// file, and the permissions perm. Nothing else uses the file then, and nothing of the content may be used after. errors.ErrUnsupported
	// where it has to be copied, as to another file system; the content is as before then.
	Move(path string, perm os.FileMode) error
}
