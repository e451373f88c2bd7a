package origin

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
)

// Gets is what the registry answered with a body to GETs of one blob or manifest.
type Gets struct {
	Requests int
	Bytes    int64
}

// Mark is a place in the access log.
type Mark int64

// Mark is the present end of the access log: what was asked before does not count for Since.
func (o *Origin) Mark() (Mark, error) {
	info, err := os.Stat(o.spec.LogFile())
	if err != nil {
		return 0, fmt.Errorf("read the registry's access log: %w", err)
	}
	return Mark(info.Size()), nil
}

// Since counts the GETs after the mark, by digest or tag.
func (o *Origin) Since(mark Mark) (map[string]Gets, error) {
	f, err := os.Open(o.spec.LogFile())
	if err != nil {
		return nil, fmt.Errorf("read the registry's access log: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(int64(mark), io.SeekStart); err != nil {
		return nil, fmt.Errorf("read the registry's access log: %w", err)
	}
	counts := map[string]Gets{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if what, size, ok := parseAccess(lines.Text()); ok {
			g := counts[what]
			counts[what] = Gets{g.Requests + 1, g.Bytes + size}
		}
	}
	return counts, lines.Err()
}

var accessLine = regexp.MustCompile(`"GET /v2/\S+/(?:blobs|manifests)/([^ ?]+)\S* HTTP/[12]\.[01]" 20[06] (\d+) `)

// parseAccess reads one line of the access log: a successful GET of a blob or manifest.
func parseAccess(line string) (what string, size int64, ok bool) {
	m := accessLine.FindStringSubmatch(line)
	if m == nil {
		return "", 0, false
	}
	size, err := strconv.ParseInt(m[2], 10, 64)
	return m[1], size, err == nil
}
