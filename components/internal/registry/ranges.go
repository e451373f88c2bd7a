package registry

import (
	"math"
	"net/http"
	"strconv"
	"strings"
)

// maxRanges bounds the parts of one multi-part answer. Lazy snapshotters ask for dozens; a request for more gets the whole.
const maxRanges = 256

// ranges returns r with a Range that http.ServeContent answers right, or with none where it is to be ignored: on HEAD, of another unit
// (RFC 9110, section 14.2), of too many parts.
func ranges(r *http.Request) *http.Request {
	value := r.Header.Get("Range")
	if value == "" {
		return r
	}
	unit, set, ok := strings.Cut(value, "=")
	if r.Method != http.MethodGet || !ok || !strings.EqualFold(unit, "bytes") || strings.Count(set, ",") >= maxRanges {
		return withRange(r, "")
	}
	var keep []string
	for spec := range strings.SplitSeq(set, ",") {
		// The last no bytes can't be had (section 14.1.2). ServeContent would send them, as bytes 10-9/10.
		if spec = strings.TrimSpace(spec); spec != "" && !isNoSuffix(spec) {
			keep = append(keep, spec)
		}
	}
	if len(keep) == 0 {
		keep = []string{strconv.FormatInt(math.MaxInt64, 10) + "-"} // nothing has that many bytes: 416
	}
	return withRange(r, "bytes="+strings.Join(keep, ","))
}

func isNoSuffix(spec string) bool {
	first, last, _ := strings.Cut(spec, "-")
	n, err := strconv.ParseInt(strings.TrimSpace(last), 10, 64)
	return strings.TrimSpace(first) == "" && err == nil && n == 0
}

// withRange returns r with another Range, or with none.
func withRange(r *http.Request, value string) *http.Request {
	out := r.Clone(r.Context())
	out.Header.Del("Range")
	if value != "" {
		out.Header.Set("Range", value)
	}
	return out
}
