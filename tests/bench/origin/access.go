package origin

import (
	"bufio"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Gets is what the origin was asked for some blobs: requests of any method, and the bytes that it sent of their content.
type Gets struct {
	Requests int
	Bytes    int64
}

// Gets counts what was asked since the server started.
func (o *Origin) Gets(blobs []Blob) (Gets, error) {
	var g Gets
	f, err := os.Open(filepath.Join(o.dir, "access.log"))
	if err != nil {
		return g, fmt.Errorf("read the origin's access log: %w", err)
	}
	defer f.Close()
	ours := map[string]bool{}
	for _, b := range blobs {
		ours[b.Hex] = true
	}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if hex, bytes, ok := parseAccess(lines.Text()); ok && ours[hex] {
			g.Requests++
			g.Bytes += bytes
		}
	}
	return g, lines.Err()
}

// parseAccess reads a line of the access log: the blob that was asked for, and the bytes sent of it.
func parseAccess(line string) (hex string, bytes int64, ok bool) {
	var method, uri string
	var status int
	if _, err := fmt.Sscanf(line, "%s %d %d %s", &method, &status, &bytes, &uri); err != nil {
		return "", 0, false
	}
	uri, _, _ = strings.Cut(uri, "?")
	hex, ok = strings.CutPrefix(path.Base(uri), "sha256:")
	if !ok || !strings.Contains(uri, "/blobs/") {
		return "", 0, false
	}
	if method != "GET" || !answers(status) {
		bytes = 0
	}
	return hex, bytes, true
}
