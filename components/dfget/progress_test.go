package dfget

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dragonfly-kube/dragonfly/components/api"
)

func half() api.Shares { return api.Shares{FromPeers: 50, FromSeed: 30, FromOrigin: 20} }

func TestLines(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		length, have int64
		at           []int64
		want         string
	}{
		"a line a tenth": {
			length: 1000, at: []int64{10, 50, 99, 100, 150, 345, 990, 1000},
			want: "downloading 1000 B\n" +
				"10 %, 25 B/s, 50 % from peers, 30 % from seed, 20 % from origin\n" +
				"34 %, 57 B/s, 50 % from peers, 30 % from seed, 20 % from origin\n" +
				"99 %, 141 B/s, 50 % from peers, 30 % from seed, 20 % from origin\n",
		},
		"resumed": {
			length: 1000, have: 950, at: []int64{960, 1000},
			want: "downloading 1000 B, from 950 B on\n",
		},
		"unknown length": {
			length: -1, at: []int64{1, lineEvery, lineEvery + 1},
			want: "downloading unknown size\n256 MiB, 128 MiB/s, 50 % from peers, 30 % from seed, 20 % from origin\n",
		},
		"less than ten bytes": {length: 3, at: []int64{3}, want: "downloading 3 B\n"},
		"nothing":             {length: 0, want: "downloading 0 B\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var b bytes.Buffer
				l := &lines{w: &b}
				l.begin(tc.length, tc.have)
				for _, n := range tc.at {
					time.Sleep(time.Second)
					l.at(n, half)
				}
				l.end()
				if diff := cmp.Diff(tc.want, b.String()); diff != "" {
					t.Errorf("lines (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestBarTellsTheShares(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		asked := 0
		shares := func() api.Shares { asked++; return half() }
		show := &bar{w: &b}
		show.begin(1000, 0)
		for n := int64(100); n < 1000; n += 100 {
			time.Sleep(300 * time.Millisecond)
			show.at(n, shares)
		}
		show.begin(1000, 900) // another source went on
		show.end()
		if !strings.Contains(b.String(), "50 % from peers") {
			t.Errorf("the bar shows %q", b.String())
		}
		if asked != 2 {
			t.Errorf("in 2.7 s the shares were asked for %d times, want 2", asked)
		}
	})
	(&bar{}).end() // before it began
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for want, s := range map[string]api.Shares{
		"from this host":                    {},
		"100 % from seed":                   {FromSeed: 7},
		"67 % from peers, 33 % from origin": {FromPeers: 2, FromOrigin: 1},
		"100 % from peers, 0 % from origin": {FromPeers: 1 << 50, FromOrigin: 1},
	} {
		if got := describe(s); got != want {
			t.Errorf("describe(%+v): got %q, want %q", s, got, want)
		}
	}
}
