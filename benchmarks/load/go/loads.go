package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
)

// The loads; what each means and counts is said in ../node/loads.ts.

var errEarly = errors.New("closed before the answer")

var loads = map[string]func(r *run, loops []*loop) result{
	"tunnels":    tunnels,
	"requests":   requests,
	"bulk":       bulk,
	"roundTrips": roundTrips,
	"openIdle":   openIdle,
	"closeIdle":  closeIdle,
}

// Connect, ask, 1 KB up, an answer down, close, seen through to the other side's FIN; again until no more are left.
type tunnelLane struct {
	run      *run
	question []byte
	answer   int
}

func (w *tunnelLane) next(l *loop, lane int) {
	if w.run.take() {
		l.dial(&w.run.request.Target, w, lane)
	} else {
		w.run.lanes.Done()
	}
}

func (w *tunnelLane) opened(t *tunnel) { t.send(w.question) }

func (w *tunnelLane) data(t *tunnel, data []byte) {
	t.received += len(data)
	if t.received >= w.answer {
		shutdownWrite(t.descriptor)
	}
}

func (w *tunnelLane) ended(t *tunnel, err error) {
	if err == nil && t.received < w.answer {
		err = errEarly
	}
	if err != nil {
		w.run.fail(err)
	}
	// Not from within dial's own stack: a lane of thousands of tunnels must not become a recursion.
	t.loop.later = append(t.loop.later, func() { w.next(t.loop, t.lane) })
}

func tunnels(r *run, loops []*loop) result {
	lane := &tunnelLane{run: r, question: bytes.Repeat([]byte("c"), 1024), answer: 1024}
	if r.request.Bytes > 0 {
		lane.question, lane.answer = []byte(fmt.Sprintf("%d\n", r.request.Bytes)), r.request.Bytes
	}
	return timed(func() { r.inLanes(loops, lane.next) })
}

// Requests one after the other on one kept connection.
type requestLane struct {
	run  *run
	text []byte
}

func (w *requestLane) opened(t *tunnel) {
	if w.run.take() {
		t.send(w.text)
	} else {
		t.close(nil)
	}
}

func (w *requestLane) data(t *tunnel, data []byte) {
	t.head = append(t.head, data...)
	length, err := responseLength(t.head)
	if err != nil {
		t.close(err)
	} else if length > 0 {
		t.head = append(t.head[:0], t.head[length:]...)
		w.opened(t)
	}
}

func (w *requestLane) ended(t *tunnel, err error) {
	if err == nil && w.run.left.Load() > 0 {
		err = errors.New("a kept connection closed early")
	}
	if err != nil {
		w.run.fail(err)
	}
	w.run.lanes.Done()
}

var lengthField = []byte("content-length: ")

// responseLength of the first whole response, or 0.
func responseLength(data []byte) (int, error) {
	end := bytes.Index(data, headEnd)
	if end < 0 {
		return 0, nil
	}
	head := bytes.ToLower(data[:end+2])
	at := bytes.Index(head, lengthField)
	if !bytes.HasPrefix(head, []byte("http/1.1 200")) || at < 0 {
		return 0, fmt.Errorf("unexpected: %s", data[:end])
	}
	digits := head[at+len(lengthField):]
	length, err := strconv.Atoi(string(digits[:bytes.IndexByte(digits, '\r')]))
	if whole := end + len(headEnd) + length; len(data) >= whole {
		return whole, err
	}
	return 0, err
}

func requests(r *run, loops []*loop) result {
	to := r.request.Target
	host := fmt.Sprintf("%s:%d", to.Name, to.OriginPort)
	form := ""
	if to.Protocol != "none" {
		form = "http://" + host
	}
	lane := &requestLane{run: r, text: []byte(fmt.Sprintf("GET %s/kilobyte HTTP/1.1\r\nHost: %s\r\n\r\n", form, host))}
	to.Protocol = "none"
	return timed(func() {
		r.inLanes(loops, func(l *loop, number int) { l.dial(&to, lane, number) })
	})
}

// Tunnels that are open before the time is taken.
type kept struct {
	run     *run
	tunnels []*tunnel
	onData  func(t *tunnel, data []byte)
}

func (k *kept) opened(t *tunnel) {
	k.tunnels[t.lane] = t
	k.done(t)
}

// done says that the load no longer waits for the tunnel, once.
func (k *kept) done(t *tunnel) {
	if t.busy {
		t.busy = false
		k.run.lanes.Done()
	}
}

func (k *kept) data(t *tunnel, data []byte) { k.onData(t, data) }

func (k *kept) ended(t *tunnel, err error) {
	if err == nil {
		err = errEarly
	}
	k.run.fail(err)
	k.done(t)
}

func openKept(r *run, loops []*loop, onData func(t *tunnel, data []byte)) *kept {
	k := &kept{run: r, tunnels: make([]*tunnel, r.request.Connections), onData: onData}
	r.inLanes(loops, func(l *loop, number int) { l.dial(&r.request.Target, k, number) })
	return k
}

// begin calls first for each tunnel on its loop, and waits until each has called lanes.Done.
func (k *kept) begin(loops []*loop, first func(t *tunnel)) result {
	if k.run.failure.Load() != nil {
		return result{}
	}
	return timed(func() {
		k.run.inLanes(loops, func(l *loop, number int) {
			k.tunnels[number].busy = true
			first(k.tunnels[number])
		})
	})
}

func (k *kept) closeAll(loops []*loop) {
	if k.run.failure.Load() != nil {
		return
	}
	k.run.inLanes(loops, func(l *loop, number int) {
		l.drop(k.tunnels[number].descriptor)
		k.run.lanes.Done()
	})
}

func bulk(r *run, loops []*loop) result {
	share := r.request.Size / r.request.Connections
	var k *kept
	k = openKept(r, loops, func(t *tunnel, data []byte) {
		if t.received += len(data); t.received == share {
			k.done(t)
		}
	})
	outcome := k.begin(loops, func(t *tunnel) { t.send([]byte(fmt.Sprintf("%d\n", share))) })
	k.closeAll(loops)
	return outcome
}

func roundTrips(r *run, loops []*loop) result {
	message := bytes.Repeat([]byte("."), max(1, r.request.Bytes))
	samples := make([][]float64, r.request.Connections)
	var k *kept
	step := func(t *tunnel) {
		if !r.take() {
			k.done(t)
			return
		}
		t.received, t.started = 0, now()
		t.send(message)
	}
	k = openKept(r, loops, func(t *tunnel, data []byte) {
		if t.received += len(data); t.received == len(message) {
			samples[t.lane] = append(samples[t.lane], float64(now()-t.started)/1e3)
			step(t)
		}
	})
	outcome := k.begin(loops, step)
	k.closeAll(loops)
	all := slices.Concat(samples...)
	slices.Sort(all)
	if len(all) > 0 {
		outcome.P50Us, outcome.P99Us = all[len(all)/2], all[len(all)*99/100]
	}
	return outcome
}

// Tunnels that stay until closeIdle: `size` of them, at most `connections` being opened at once.
type idleLane struct{ run *run }

func (w *idleLane) next(l *loop, lane int) {
	if w.run.take() {
		l.dial(&w.run.request.Target, w, lane)
	} else {
		w.run.lanes.Done()
	}
}

func (w *idleLane) opened(t *tunnel) {
	t.busy = false
	t.loop.idle = append(t.loop.idle, t)
	t.loop.later = append(t.loop.later, func() { w.next(t.loop, t.lane) })
}

func (w *idleLane) data(*tunnel, []byte) {}

// ended matters only to a tunnel that was never open: what becomes of idle ones is the proxy's affair.
func (w *idleLane) ended(t *tunnel, err error) {
	if !t.busy {
		return
	}
	if err == nil {
		err = errEarly
	}
	w.run.fail(err)
	w.run.lanes.Done()
}

func openIdle(r *run, loops []*loop) result {
	lane := &idleLane{run: r}
	return timed(func() { r.inLanes(loops, lane.next) })
}

func closeIdle(r *run, loops []*loop) result {
	r.request.Connections = len(loops)
	r.inLanes(loops, func(l *loop, number int) {
		for _, t := range l.idle {
			if l.connections[t.descriptor] == connection(t) {
				l.drop(t.descriptor)
			}
		}
		l.idle = nil
		r.lanes.Done()
	})
	return result{}
}
