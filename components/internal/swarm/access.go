package swarm

import (
	"hash/maphash"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/seed"
)

// maxAccesses bounds the different ways to the origin that are remembered of a task, so that many wrong credentials cost
// the origin a few requests, not many.
const maxAccesses = 8

// accessKey tells ways to the origin apart without keeping the credentials: zero means none.
type accessKey uint64

// access is one way to the origin: a URL and the credentials of whoever registered with it.
type access struct {
	key     accessKey
	request seed.Request
	tried   bool
	refused *api.Error
	until   time.Time // how long refused is told without another try
}

var hashSeed = maphash.MakeSeed()

func keyOf(o *api.Origin) accessKey {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	add := func(s string) {
		maphash.WriteComparable(&h, len(s))
		_, _ = h.WriteString(s)
	}
	add(o.URL)
	for _, name := range slices.Sorted(maps.Keys(o.Header)) {
		add(name)
		for _, v := range o.Header[name] {
			add(v)
		}
	}
	return accessKey(h.Sum64() | 1)
}

// accessOf remembers a way to the origin. It returns nil when there are too many.
func (t *task) accessOf(o *api.Origin) *access {
	key := keyOf(o)
	for _, a := range t.accesses {
		if a.key == key {
			return a
		}
	}
	a := &access{key: key, request: seed.Request{URL: o.URL, Header: http.Header(o.Header).Clone(), Immutable: t.digest != ""}}
	if len(t.accesses) >= maxAccesses {
		// Make place of one that was refused and is no longer told.
		i := slices.IndexFunc(t.accesses, func(a *access) bool { return a.refused != nil && time.Now().After(a.until) })
		if i < 0 {
			return nil
		}
		t.accesses[i] = a
		return a
	}
	t.accesses = append(t.accesses, a)
	return a
}
