package origin

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// BenchmarkFetch reads 256 MiB over loopback into nothing, with the default configuration.
func BenchmarkFetch(b *testing.B) {
	data := bytesOf(256 << 20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}))
	defer srv.Close()
	c := realClient(b, Config{})
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := c.Fetch(b.Context(), Request{URL: srv.URL}, nil, &tally{}); err != nil {
			b.Fatal(err)
		}
	}
}
