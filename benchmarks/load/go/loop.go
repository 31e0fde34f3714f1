package main

import (
	"runtime"
	"syscall"
	"unsafe"
)

// A connection under a loop. Both are called on the loop's own thread.
type connection interface {
	readable()
	writable()
}

// A loop is one thread that waits in epoll and calls the connections that are ready.
type loop struct {
	descriptor  int
	connections []connection
	// Shared by all connections of the loop: what was read is handled before the next read.
	buffer []byte
	// Work handed over from other threads, announced by a byte in the pipe.
	tasks chan func()
	// Work of this thread for after the events at hand.
	later []func()
	// Tunnels that stay until the load closeIdle.
	idle []*tunnel
	// Connections made so far.
	dialled int
	waker   int
}

func check(what string, err error) {
	if err != nil {
		panic(what + ": " + err.Error())
	}
}

func newLoop() *loop {
	descriptor, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	check("epoll_create1", err)
	l := &loop{descriptor: descriptor, buffer: make([]byte, 512*1024), tasks: make(chan func(), 64)}
	var pipe [2]int
	check("pipe2", syscall.Pipe2(pipe[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC))
	l.waker = pipe[1]
	l.watch(pipe[0], wakeUp{l, pipe[0]}, syscall.EPOLLIN)
	return l
}

// Takes the handed-over work once the pipe says there is some.
type wakeUp struct {
	loop       *loop
	descriptor int
}

func (w wakeUp) writable() {}
func (w wakeUp) readable() {
	_, _ = read(w.descriptor, w.loop.buffer)
	for {
		select {
		case task := <-w.loop.tasks:
			task()
		default:
			return
		}
	}
}

// do runs a task on the loop's thread, from any thread.
func (l *loop) do(task func()) {
	l.tasks <- task
	_, _ = syscall.Write(l.waker, []byte{1})
}

func (l *loop) watch(descriptor int, c connection, events uint32) {
	for descriptor >= len(l.connections) {
		l.connections = append(l.connections, make([]connection, 1024)...)
	}
	l.connections[descriptor] = c
	event := syscall.EpollEvent{Events: events, Fd: int32(descriptor)}
	check("epoll_ctl", epollControl(l.descriptor, syscall.EPOLL_CTL_ADD, descriptor, &event))
}

func (l *loop) rearm(descriptor int, events uint32) {
	event := syscall.EpollEvent{Events: events, Fd: int32(descriptor)}
	check("epoll_ctl", epollControl(l.descriptor, syscall.EPOLL_CTL_MOD, descriptor, &event))
}

// drop closes the descriptor, which also takes it out of epoll.
func (l *loop) drop(descriptor int) {
	l.connections[descriptor] = nil
	_, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(descriptor), 0, 0)
}

func (l *loop) run() {
	runtime.LockOSThread()
	events := make([]syscall.EpollEvent, 256)
	for {
		for _, event := range events[:l.wait(events)] {
			// An earlier event of the same batch may have closed it.
			if c := l.connections[event.Fd]; c != nil && event.Events&syscall.EPOLLOUT != 0 {
				c.writable()
			}
			if c := l.connections[event.Fd]; c != nil && event.Events&^uint32(syscall.EPOLLOUT) != 0 {
				c.readable()
			}
		}
		for len(l.later) > 0 {
			work := l.later
			l.later = nil
			for _, task := range work {
				task()
			}
		}
	}
}

// wait asks without blocking first: only a wait that blocks must tell Go's scheduler, which costs microseconds.
func (l *loop) wait(events []syscall.EpollEvent) int {
	ready, _, _ := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.descriptor),
		uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if int(ready) > 0 {
		return int(ready)
	}
	count, err := syscall.EpollWait(l.descriptor, events, -1)
	if err == syscall.EINTR {
		return 0
	}
	check("epoll_wait", err)
	return count
}

// Calls that never block go past Go's scheduler.

func epollControl(epoll, operation, descriptor int, event *syscall.EpollEvent) error {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_CTL, uintptr(epoll), uintptr(operation),
		uintptr(descriptor), uintptr(unsafe.Pointer(event)), 0, 0)
	return errorOf(errno)
}

func read(descriptor int, buffer []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(descriptor),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), syscall.MSG_DONTWAIT, 0, 0)
	if errno == syscall.ENOTSOCK {
		n, _, errno = syscall.RawSyscall(syscall.SYS_READ, uintptr(descriptor),
			uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)))
	}
	return int(n), errorOf(errno)
}

func write(descriptor int, bytes []byte) (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(descriptor),
		uintptr(unsafe.Pointer(&bytes[0])), uintptr(len(bytes)), syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL, 0, 0)
	return int(n), errorOf(errno)
}

func shutdownWrite(descriptor int) {
	_, _, _ = syscall.RawSyscall(syscall.SYS_SHUTDOWN, uintptr(descriptor), syscall.SHUT_WR, 0)
}

func errorOf(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
