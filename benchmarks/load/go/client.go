package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// The load client: takes one load at a time as a line of JSON and answers with a line; see ../children.ts.

type request struct {
	Load        string `json:"load"`
	Target      target `json:"target"`
	Size        int    `json:"size"`
	Connections int    `json:"connections"`
	Bytes       int    `json:"bytes"`
}

type result struct {
	Seconds float64 `json:"seconds"`
	P50Us   float64 `json:"p50Us,omitempty"`
	P99Us   float64 `json:"p99Us,omitempty"`
}

// A run is one load on its way, shared by all loops.
type run struct {
	request request
	left    atomic.Int64
	lanes   sync.WaitGroup
	failure atomic.Pointer[string]
	samples [][]float64
}

func (r *run) fail(err error) {
	text := err.Error()
	r.failure.CompareAndSwap(nil, &text)
	r.left.Store(0)
}

// take says whether there is one more unit to do.
func (r *run) take() bool { return r.left.Add(-1) >= 0 }

var clientStart = time.Now()

func now() int64 { return int64(time.Since(clientStart)) }

// inLanes starts the lanes, shared out among the loops, and waits until each has called lanes.Done.
func (r *run) inLanes(loops []*loop, lane func(l *loop, number int)) {
	r.lanes.Add(r.request.Connections)
	for i, l := range loops {
		l.do(func() {
			for number := i; number < r.request.Connections; number += len(loops) {
				lane(l, number)
			}
		})
	}
	r.lanes.Wait()
}

func perform(loops []*loop, request request) (result, error) {
	r := &run{request: request}
	r.left.Store(int64(request.Size))
	start, known := loads[request.Load]
	if !known {
		return result{}, fmt.Errorf("no load %q", request.Load)
	}
	outcome := start(r, loops)
	if failure := r.failure.Load(); failure != nil {
		return result{}, fmt.Errorf("%s", *failure)
	}
	return outcome, nil
}

func timed(work func()) result {
	started := now()
	work()
	return result{Seconds: float64(now()-started) / 1e9}
}

func runClient() {
	loops := make([]*loop, loopCount())
	for i := range loops {
		loops[i] = newLoop()
		go loops[i].run()
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var asked request
		check("request", json.Unmarshal(lines.Bytes(), &asked))
		outcome, err := perform(loops, asked)
		answer := map[string]any{"result": outcome}
		if err != nil {
			answer = map[string]any{"failure": err.Error()}
		}
		text, _ := json.Marshal(answer)
		fmt.Println(string(text))
	}
}
