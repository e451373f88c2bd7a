package upload

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/dragonfly-kube/dragonfly/components/api"
	"github.com/dragonfly-kube/dragonfly/components/internal/store"
)

// slowChild takes rate bytes a second, and none beyond stop. Its connection has a deadline, as sockets have.
type slowChild struct {
	*httptest.ResponseRecorder
	rate, stop, taken int64
	deadline          time.Time
}

func (c *slowChild) SetWriteDeadline(t time.Time) error {
	c.deadline = t
	return nil
}

func (c *slowChild) Write(p []byte) (int, error) {
	left := time.Until(c.deadline)
	n := min(int64(len(p)), int64(left.Seconds()*float64(c.rate)), c.stop-c.taken)
	c.taken += n
	if n < int64(len(p)) {
		<-time.After(left)
		return int(n), os.ErrDeadlineExceeded
	}
	<-time.After(time.Duration(float64(n) / float64(c.rate) * float64(time.Second)))
	return int(n), nil
}

func TestAChildIsDroppedThatTakesNothingNotOneThatIsSlow(t *testing.T) {
	t.Parallel()
	const size = 4 << 20
	for name, tc := range map[string]struct {
		child slowChild
		want  int64
		least time.Duration
	}{
		"10 Gbit/s":                     {slowChild{rate: 1250 << 20, stop: size}, size, 0},
		"16 KiB a second":               {slowChild{rate: 16 << 10, stop: size}, size, 256 * time.Second},
		"fast until it stops":           {slowChild{rate: 100 << 20, stop: size / 2}, size / 2, 10 * time.Second},
		"slow until it stops":           {slowChild{rate: 16 << 10, stop: 256 << 10}, 256 << 10, 25 * time.Second},
		"one that never takes anything": {slowChild{rate: 1 << 20}, 0, 10 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			st := store.NewMemory()
			task, err := st.Create(testID, api.Meta{Length: size, PieceSize: size})
			if err != nil {
				t.Fatal(err)
			}
			defer task.Release()
			r := &rig{task: task, body: make([]byte, size)}
			r.put(t, 0)
			s := New(Config{}, Deps{Store: st, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()})
			child := tc.child
			child.ResponseRecorder = httptest.NewRecorder()
			began := time.Now()
			s.ServeHTTP(&child, httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.DownloadPath(testID), nil))
			if took := time.Since(began); child.taken != tc.want || took < tc.least || took > tc.least+11*time.Second {
				t.Errorf("%s: took %d bytes in %v, want %d in %v", name, child.taken, took, tc.want, tc.least)
			}
		})
	}
}
