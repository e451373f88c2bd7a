package dfget

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/dragonfly-kube/dragonfly/components/internal/localapi"
)

// output takes the content in order. Its errors wrap errOutput, errDigest or errChanged.
type output interface {
	io.Writer
	// Offset is how many bytes are there already.
	Offset() int64
	// Accept compares a content with the one whose beginning is there. False means that it is another one: start again at 0 after
	// Restart, if that is possible.
	Accept(id identity) (bool, error)
	// Restart forgets what is there.
	Restart() error
	// Commit verifies the whole, of length bytes (-1: unknown), and puts it in its place.
	Commit(length int64) error
	// Close ends the writing without Commit. Where keep is true, what is there stays for the next call, and Close tells whether
	// there is such a thing. After Commit it does nothing.
	Close(keep bool) (resumable bool)
}

// identity tells contents apart.
type identity struct {
	// Task is the id, which is made of URL, filters, tag and digest.
	Task         string `json:"task"`
	Length       int64  `json:"length"`
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	// Digested says that the task's digest names the bytes.
	Digested bool `json:"digested,omitempty"`
}

func identify(content *localapi.Content, digested bool) identity {
	return identity{
		Task: content.Task, Length: content.Length, Digested: digested,
		ETag: content.Header["Etag"], LastModified: content.Header["Last-Modified"],
	}
}

// continues reports whether the rest of one content can follow the beginning of the other. Without a digest it takes a validator
// that stands for the very bytes: a weak one does not.
func (id identity) continues(begun identity) bool {
	if id.Task != begun.Task || id.Length >= 0 && begun.Length >= 0 && id.Length != begun.Length {
		return false
	}
	switch {
	case id.Digested && begun.Digested:
		return true
	case id.ETag != "" || begun.ETag != "":
		return id.ETag == begun.ETag && !strings.HasPrefix(id.ETag, "W/")
	}
	return id.LastModified != "" && id.LastModified == begun.LastModified
}

// stream is an output that can't go back: standard output, a device, a pipe.
type stream struct {
	w     io.Writer
	sums  *checker
	off   int64
	begun identity
}

// Offset implements output.
func (s *stream) Offset() int64 { return s.off }

// Accept implements output.
func (s *stream) Accept(id identity) (bool, error) {
	if s.off > 0 && !id.continues(s.begun) {
		return false, fmt.Errorf("%w, and %d bytes of it are written already", errChanged, s.off)
	}
	s.begun = id
	return true, nil
}

// Restart implements output.
func (s *stream) Restart() error {
	if s.off > 0 {
		return fmt.Errorf("%w, and %d bytes of it are written already", errChanged, s.off)
	}
	return nil
}

// Write implements io.Writer.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.w.Write(b)
	_, _ = s.sums.Write(b[:n])
	s.off += int64(n)
	if err != nil {
		err = fmt.Errorf("%w: %w", errOutput, err)
	}
	return n, err
}

// Commit implements output.
func (s *stream) Commit(length int64) error {
	if err := checkLength(s.off, length); err != nil {
		return err
	}
	return s.sums.check()
}

// Close implements output.
func (*stream) Close(bool) bool { return false }

func checkLength(got, want int64) error {
	if want >= 0 && got != want {
		return fmt.Errorf("%w: it has %d bytes, %d were announced", errChanged, got, want)
	}
	return nil
}

// openOutput chooses where the content goes.
func openOutput(c *Config, stdout io.Writer, want []wanted) (output, error) {
	sums := newChecker(want)
	if c.Output == "-" {
		return &stream{w: stdout, sums: sums}, nil
	}
	info, err := os.Stat(c.Output)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%w: %s is a directory; name a file in it", errOutput, c.Output)
	case err == nil && !info.Mode().IsRegular():
		f, err := os.OpenFile(c.Output, os.O_WRONLY, 0)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errOutput, err)
		}
		return &device{stream{w: f, sums: sums}, f}, nil
	}
	return openPartial(c.Output, sums)
}

// device is a stream that was opened here.
type device struct {
	stream
	f *os.File
}

// Close implements output.
func (d *device) Close(bool) bool {
	_ = d.f.Close() // nothing is kept of it
	return false
}
