// The load of the benchmark as a native program: `load client` and `load origin`, both event loops over epoll.
// It exists because a client of Node streams takes more processor time than some proxies under test do; what the
// loads mean is written in ../node/loads.ts, which does the same where Go is missing. It knows no peer by name.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"syscall"
)

// Event loops of each program: one on small machines, so that the proxy keeps its share, more where there are cores.
func loopCount() int {
	return max(1, min(8, runtime.NumCPU()/4))
}

func raiseDescriptorLimit() {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
}

func main() {
	raiseDescriptorLimit()
	debug.SetGCPercent(800)
	runtime.GOMAXPROCS(loopCount() + 1)
	program := ""
	if len(os.Args) == 2 {
		program = os.Args[1]
	}
	switch program {
	case "client":
		runClient()
	case "origin":
		runOrigin()
	default:
		fmt.Fprintln(os.Stderr, "usage: load client | load origin")
		os.Exit(2)
	}
}
