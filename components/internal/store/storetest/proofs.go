package storetest

import (
	"github.com/dragonfly-kube/dragonfly/components/internal/piece"
	"github.com/dragonfly-kube/dragonfly/components/internal/proof"
)

func testProof(c conformance) {
	t, s := c.t, c.store
	content := Content(3 * Size)
	task := Create(t, s, ID("a"), int64(len(content)))
	signer := proof.NewSigner()
	sign := func(i int, b []byte) *proof.Proof {
		p := signer.Sign(task.ID(), i, piece.Sum(b))
		return &p
	}
	expect := func(when string, i int, want *proof.Proof) {
		t.Helper()
		if got := task.Proof(i); got != want && (got == nil || want == nil || *got != *want) {
			t.Errorf("%s: Proof(%d) = %v, want %v", when, i, got, want)
		}
	}
	early, late := sign(0, Piece(content, 0)), sign(1, Piece(content, 1))
	task.Prove(0, early)
	expect("before the piece is held", 0, nil)
	Put(t, task, content, 0)
	expect("with the piece", 0, early)
	Put(t, task, content, 1)
	expect("a piece without", 1, nil)
	task.Prove(1, late)
	expect("proven later", 1, late)
	again := sign(1, Piece(content, 1))
	task.Prove(1, again)
	expect("proven anew", 1, again)
	task.Prove(2, sign(2, []byte("other bytes")))
	Put(t, task, content, 2)
	expect("held with another digest", 2, nil)
	task.Drop(0)
	expect("dropped", 0, nil)
	for _, i := range []int{-1, 3, 1 << 40} {
		task.Prove(i, early)
		expect("a piece that there is not", i, nil)
	}
}
