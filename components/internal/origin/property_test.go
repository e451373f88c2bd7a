package origin

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
)

// overhead is what a request may send beside the content: the header, and, when it fails, what is lost in the buffers of the client's
// connection, which are 4 KiB.
const overhead = 8 << 10

// planned is an origin that fails as a random plan says, and keeps account of what its failures cost.
type planned struct {
	*server
	mu    sync.Mutex // guards the fields below
	rng   *rand.Rand
	fails int   // still to come
	done  int   // failures so far
	cost  int64 // bytes sent in vain because of them
}

func (p *planned) misbehave(_ int, w http.ResponseWriter, r *http.Request) bool {
	p.mu.Lock()
	length := len(p.data)
	kind, at := p.rng.IntN(9), 1+p.rng.IntN(1+length/2)
	if p.fails == 0 || p.rng.IntN(3) == 0 {
		kind = -1
	} else {
		p.fails--
		p.done++
	}
	first := firstOf(r.Header.Get("Range")[min(len("bytes="), len(r.Header.Get("Range"))):])
	if kind == 6 || p.plain {
		p.cost += int64(first) // sent again, to be skipped
	}
	p.mu.Unlock()
	switch kind {
	case 0:
		return p.breakAt(at, w, r)
	case 1:
		return p.stallAt(at, w, r)
	case 2:
		return answerWith(503)(w, r)
	case 3:
		return answerWith(429, "Retry-After", "3")(w, r)
	case 4:
		panic(http.ErrAbortHandler)
	case 5:
		<-r.Context().Done()
		return true
	case 6: // all, whatever was asked for
		r.Header.Del("Range")
		return false
	case 7:
		return claim(fmt.Sprintf("bytes %d-%d/%d", first+1, first+9, length), -1, 9)(w, r)
	case 8:
		return claim(fmt.Sprintf("bytes %d-%d/%d", first, first+9, length), 7, 7)(w, r)
	}
	return false
}

// For any length and any plan of failures the bytes at the sink are the content's, each once, and the origin sends no more than one copy and what the
// failures cost.
func TestFetchProperty(t *testing.T) {
	t.Parallel()
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			length := []int{0, 1, 16383, 16384, 16385, rng.IntN(200_000)}[rng.IntN(6)]
			o := &planned{server: &server{data: bytesOf(length), etag: `"a"`, plain: rng.IntN(4) == 0}, rng: rng, fails: rng.IntN(8)}
			o.do = o.misbehave
			cfg := small
			cfg.Retries, cfg.Parallel = 8, 1+rng.IntN(5)
			c, n := newClient(t, cfg, map[string]http.Handler{"o": o})
			n.refuse.Store(int32(rng.IntN(2)))
			s := &sink{t: t}
			req := Request{URL: "http://o/x", Immutable: rng.IntN(2) == 0}
			if err := c.Fetch(t.Context(), req, nil, s); err != nil {
				t.Fatalf("seed %d, %d bytes: %v", seed, length, err)
			}
			s.check(o.data, nil)
			synctest.Wait()
			o.mu.Lock()
			defer o.mu.Unlock()
			if most := int64(length) + o.cost + int64(len(o.seen))*overhead; n.sent.Load() > most {
				t.Errorf("seed %d: origin sent %d bytes of %d, want at most %d after %d failures", seed, n.sent.Load(), length, most, o.done)
			}
			if most := 2 + len(s.parts) + 2*o.done; len(o.seen) > most {
				t.Errorf("seed %d: %d requests for %d parts, want at most %d after %d failures", seed, len(o.seen), len(s.parts), most, o.done)
			}
		})
	}
}
