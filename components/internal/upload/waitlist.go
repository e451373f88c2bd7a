package upload

import "slices"

// listener is a child's availability stream, as the gate sees it.
type listener struct {
	task string
	room chan struct{} // capacity 1: "a place is free"
}

func newListener(task string) *listener { return &listener{task: task, room: make(chan struct{}, 1)} }

// call tells the child of a free place. It never blocks; a call that was not heard yet is as good as two.
func (l *listener) call() {
	select {
	case l.room <- struct{}{}:
	default:
	}
}

// waitlist is the children turned away: tasks take turns, and within a task the longest waiting comes first. Not safe for
// concurrent use.
type waitlist struct {
	tasks  []string // in turn
	byTask map[string][]*listener
	n      int
}

func (w *waitlist) len() int { return w.n }

// add puts l at the end of its task's line, unless it stands there already.
func (w *waitlist) add(l *listener) {
	line, ok := w.byTask[l.task]
	if slices.Contains(line, l) {
		return
	}
	if w.byTask == nil {
		w.byTask = map[string][]*listener{}
	}
	if !ok {
		w.tasks = append(w.tasks, l.task)
	}
	w.byTask[l.task] = append(line, l)
	w.n++
}

// next takes the child whose turn it is, nil when nobody waits.
func (w *waitlist) next() *listener {
	if len(w.tasks) == 0 {
		return nil
	}
	task := w.tasks[0]
	l := w.byTask[task][0]
	w.tasks = append(w.tasks[1:], task)
	w.removeAt(task, 0)
	return l
}

func (w *waitlist) remove(l *listener) {
	if i := slices.Index(w.byTask[l.task], l); i >= 0 {
		w.removeAt(l.task, i)
	}
}

func (w *waitlist) removeAt(task string, i int) {
	line := slices.Delete(w.byTask[task], i, i+1)
	w.n--
	if len(line) > 0 {
		w.byTask[task] = line
		return
	}
	delete(w.byTask, task)
	w.tasks = slices.DeleteFunc(w.tasks, func(t string) bool { return t == task })
}
