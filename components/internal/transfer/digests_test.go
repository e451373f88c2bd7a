package transfer

import (
	"testing"
	"testing/synctest"

	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

func TestADigestThatIsWaitedForIsAskedOfTheNextSupernodeToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var g digests
		g.init("task", proof.Key.Verify)
		const sessions = 3
		var asked [sessions]int
		begin := func(session int) {
			g.renew(func() { asked[session]++ })
			g.trust(proof.ParseKey(proof.NewSigner().Key()))
		}
		begin(0)
		want := piece.Digest{7}
		go func() {
			if got, err := g.wait(t.Context(), 3); err != nil || got != want {
				t.Errorf("got digest %v and %v, want %v", got, err, want)
			}
		}()
		synctest.Wait()
		begin(1)
		synctest.Wait()
		g.set(map[int]piece.Digest{3: want})
		synctest.Wait()
		begin(2)
		synctest.Wait()
		if want := [sessions]int{1, 1, 0}; asked != want {
			t.Errorf("the sessions were asked for all digests %v times, want %v", asked, want)
		}
	})
}
