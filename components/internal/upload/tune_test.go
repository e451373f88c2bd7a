package upload

import (
	"syscall"
	"testing"
	"time"
)

// noSocket takes settings and forgets them.
type noSocket struct{ syscall.RawConn }

func (noSocket) Control(func(fd uintptr)) error { return nil }

func TestUnsentBytesFollowTheRate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		now  int
		n    int64
		took time.Duration
		want int
	}{
		"a slow link":                           {Unsent, 64 << 10, 100 * time.Millisecond, minUnsent},
		"1 Gbit/s":                              {Unsent, 1 << 20, 1 << 20 * 8 * time.Nanosecond, 624999},
		"more than any network has":             {Unsent, 4 << 20, time.Microsecond, maxUnsent},
		"about what it is":                      {100000, 1 << 20, 1 << 20 * 50 * time.Nanosecond, 100000},
		"a clock that stands":                   {Unsent, 1 << 20, 0, Unsent},
		"less than the kernel takes at once":    {maxUnsent, 64 << 10, time.Microsecond, maxUnsent / 2},
		"less than that, and the least already": {minUnsent, 1000, time.Microsecond, minUnsent},
	} {
		c := &tuned{raw: noSocket{}, now: tc.now}
		c.sent(tc.n, tc.took)
		if c.now != tc.want {
			t.Errorf("%s: %d bytes, want %d", name, c.now, tc.want)
		}
	}
	(*tuned)(nil).sent(1, time.Second) // a connection that is no socket
}

func TestAStrideIsWhatTakesATenthOfASecond(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		now  stride
		n    int64
		took time.Duration
		want stride
	}{
		"the first went into a buffer": {minStride, minStride, time.Microsecond, 4 * minStride},
		"a slow link":                  {1 << 20, 1 << 20, 2 * time.Second, minStride},
		"100 Mbit/s":                   {1 << 20, 1 << 20, 1 << 20 * 80 * time.Nanosecond, 1250000},
		"1 Gbit/s and more":            {2 << 20, 2 << 20, 2 << 20 * 8 * time.Nanosecond, maxStride},
		"a clock that stands":          {minStride, 100, 0, 4 * minStride},
	} {
		s := tc.now
		if s.sent(tc.n, tc.took); s != tc.want {
			t.Errorf("%s: %d bytes, want %d", name, s, tc.want)
		}
	}
}
