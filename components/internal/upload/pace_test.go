package upload

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

func TestNewsHoldSeveralPiecesInTheMiddleOfALongDownload(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pieces int64
		held   int
		took   time.Duration
		n      int
		want   time.Duration
	}{
		"the middle of many pieces":           {1024, 512, 100 * time.Millisecond, 2, 100 * time.Millisecond},
		"an eighth of them is there":          {1024, 128, 100 * time.Millisecond, 2, 100 * time.Millisecond},
		"a sixteenth":                         {1024, 64, 100 * time.Millisecond, 2, 50 * time.Millisecond},
		"the beginning":                       {1024, 63, 100 * time.Millisecond, 2, 0},
		"an eighth is missing":                {1024, 896, 100 * time.Millisecond, 2, 100 * time.Millisecond},
		"the end":                             {1024, 961, 100 * time.Millisecond, 2, 0},
		"the last piece":                      {1024, 1024, 100 * time.Millisecond, 2, 0},
		"few pieces":                          {127, 64, 100 * time.Millisecond, 2, 0},
		"so slowly that each is news":         {1024, 512, 501 * time.Millisecond, 1, 0},
		"nothing came for a while":            {1024, 512, time.Hour, 1, 0},
		"content of unknown length":           {-1, 512, 100 * time.Millisecond, 2, 0},
		"as slowly as pieces may be together": {1024, 512, 500 * time.Millisecond, 1, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := pace{told: time.Now()}
			time.Sleep(tc.took) // the bubble's time
			if got := p.after(tc.n, tc.held, piece.Layout{Length: tc.pieces * piece.MinSize, Size: piece.MinSize}); got != tc.want {
				t.Errorf("%s: waits %v, want %v", name, got, tc.want)
			}
		})
	}
}
