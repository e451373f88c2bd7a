package workload

import (
	"testing"
	"time"
)

func TestThePullTimeInAnEvent(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		message string
		want    time.Duration
		ok      bool
	}{
		"a pull":                     {`Successfully pulled image "192.0.2.1:5000/library/app:tag" in 12.5s (12.6s including waiting). Image size: 12 bytes.`, 12500 * time.Millisecond, true},
		"a long pull":                {`Successfully pulled image "a" in 1m3.25s (2m including waiting).`, 63250 * time.Millisecond, true},
		"a short pull":               {`Successfully pulled image "a" in 45ms (45ms including waiting).`, 45 * time.Millisecond, true},
		"nothing after it":           {`Successfully pulled image "a" in 2s`, 2 * time.Second, true},
		"an image that was there":    {`Container image "a" already present on machine`, 0, false},
		"a time that is none":        {`Successfully pulled image "a" in 1.2.3s (1s including waiting).`, 0, false},
		"an image with a quote mark": {`Successfully pulled image "a" in 1s" in 2s (2s including waiting)`, 0, false},
		"nothing":                    {"", 0, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, ok := pullTime(test.message); got != test.want || ok != test.ok {
				t.Errorf("got %v, %v, want %v, %v", got, ok, test.want, test.ok)
			}
		})
	}
}
