package transport

import "container/heap"

// qmuxQueue holds the streams that have something to send, the one to be sent
// next first.
type qmuxQueue []*qmuxStream

var _ heap.Interface = (*qmuxQueue)(nil)

func (q qmuxQueue) Len() int { return len(q) }

func (q qmuxQueue) Less(i, j int) bool {
	a, b := &q[i].send, &q[j].send
	if a.urgency != b.urgency {
		return a.urgency < b.urgency
	}
	return a.turn < b.turn
}

func (q qmuxQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].send.index, q[j].send.index = i, j
}

// Push is for package heap.
func (q *qmuxQueue) Push(x any) {
	s := x.(*qmuxStream)
	s.send.index = len(*q)
	*q = append(*q, s)
}

// Pop is for package heap.
func (q *qmuxQueue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	s.send.index = -1
	return s
}

// add queues a stream, if it is not queued.
func (q *qmuxQueue) add(s *qmuxStream) {
	if s.send.index < 0 {
		heap.Push(q, s)
	}
}

// remove takes a stream out of the queue, if it is there.
func (q *qmuxQueue) remove(s *qmuxStream) {
	if s.send.index >= 0 {
		heap.Remove(q, s.send.index)
	}
}

// moved puts a stream where its place is now.
func (q *qmuxQueue) moved(s *qmuxStream) {
	if s.send.index >= 0 {
		heap.Fix(q, s.send.index)
	}
}
