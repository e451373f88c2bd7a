package upload

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
)

func TestNewsHoldSeveralPiecesWhereThereAreManyAndTheyComeSlowly(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		pieces int64
		took   time.Duration
		n      int
		want   time.Duration
	}{
		"many pieces":                    {1024, 100 * time.Millisecond, 2, 100 * time.Millisecond},
		"a quarter as many":              {256, 100 * time.Millisecond, 2, 50 * time.Millisecond},
		"few":                            {255, 100 * time.Millisecond, 2, 0},
		"so slowly that each is news":    {1024, 501 * time.Millisecond, 1, 0},
		"nothing came for a while":       {1024, time.Hour, 1, 0},
		"content of unknown length":      {-1, 100 * time.Millisecond, 2, 0},
		"as slowly as is told of at all": {1024, 500 * time.Millisecond, 1, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := pace{told: time.Now()}
			time.Sleep(tc.took) // the bubble's time
			if got := p.after(tc.n, piece.Layout{Length: tc.pieces * piece.MinSize, Size: piece.MinSize}); got != tc.want {
				t.Errorf("%s: waits %v, want %v", name, got, tc.want)
			}
		})
	}
}
