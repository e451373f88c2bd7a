package sim

import (
	"container/heap"
	"time"
)

// agenda is what happens when: in order of time, and of booking within a moment. Many things happen at the same moment, so what is sorted
// is the moments.
type agenda struct {
	at      map[time.Duration][]event
	moments moments
	done    int // events of the first moment that were taken
	spare   [][]event
}

// moments is a heap of the moments at which something happens.
type moments []time.Duration

// Len implements heap.Interface.
func (m moments) Len() int { return len(m) }

// Less implements heap.Interface.
func (m moments) Less(i, j int) bool { return m[i] < m[j] }

// Swap implements heap.Interface.
func (m moments) Swap(i, j int) { m[i], m[j] = m[j], m[i] }

// Push implements heap.Interface.
func (m *moments) Push(x any) { *m = append(*m, x.(time.Duration)) }

// Pop implements heap.Interface.
func (m *moments) Pop() any {
	last := len(*m) - 1
	x := (*m)[last]
	*m = (*m)[:last]
	return x
}

// push books an event.
func (a *agenda) push(at time.Duration, e event) {
	list, ok := a.at[at]
	if !ok {
		heap.Push(&a.moments, at)
		if k := len(a.spare); k > 0 {
			list, a.spare = a.spare[k-1], a.spare[:k-1]
		}
	}
	a.at[at] = append(list, e)
}

// pop takes the first event, unless it comes after now.
func (a *agenda) pop(now time.Duration) (e event, at time.Duration, ok bool) {
	for len(a.moments) > 0 && a.moments[0] <= now {
		at = a.moments[0]
		list := a.at[at]
		if a.done < len(list) {
			e, list[a.done] = list[a.done], event{}
			a.done++
			return e, at, true
		}
		delete(a.at, at)
		heap.Pop(&a.moments)
		a.spare, a.done = append(a.spare, list[:0]), 0
	}
	return event{}, 0, false
}

// next is when something happens next; never where nothing will.
func (a *agenda) next(never time.Duration) time.Duration {
	if len(a.moments) == 0 {
		return never
	}
	return a.moments[0]
}
