package main

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"unsafe"
)

// A target says where to connect and what to ask there; see ../target.ts.
type target struct {
	Protocol   string `json:"protocol"`
	Port       int    `json:"port"`
	Name       string `json:"name"`
	OriginPort int    `json:"originPort"`
}

// What a load does with one open tunnel.
type load interface {
	opened(t *tunnel)
	data(t *tunnel, data []byte)
	// The other side's FIN, or an error; the tunnel is closed already.
	ended(t *tunnel, err error)
}

type stage int

const (
	connecting stage = iota
	greeting
	requesting
	open
)

// A tunnel is one connection of the client, from connect to close.
type tunnel struct {
	loop       *loop
	descriptor int
	target     *target
	load       load
	stage      stage
	head       []byte
	received   int
	started    int64
	// Position of the lane in its load, and whether the load still waits for this tunnel.
	lane int
	busy bool
}

var headEnd = []byte("\r\n\r\n")

// dial connects from one of eight loopback addresses in turn: one alone runs out of ports at tens of thousands of
// connections a second, since each stays in TIME_WAIT.
func (l *loop) dial(to *target, load load, lane int) *tunnel {
	const bindAddressNoPort = 24
	descriptor, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	check("socket", err)
	t := &tunnel{loop: l, descriptor: descriptor, target: to, load: load, lane: lane, busy: true}
	l.dialled++
	check("IP_BIND_ADDRESS_NO_PORT", syscall.SetsockoptInt(descriptor, syscall.IPPROTO_IP, bindAddressNoPort, 1))
	source := syscall.RawSockaddrInet4{Family: syscall.AF_INET, Addr: [4]byte{127, 0, 1, byte(1 + l.dialled%8)}}
	check("bind", addressCall(syscall.SYS_BIND, descriptor, &source))
	port := uint16(to.Port)
	peer := syscall.RawSockaddrInet4{Family: syscall.AF_INET, Port: port<<8 | port>>8, Addr: loopback}
	err = addressCall(syscall.SYS_CONNECT, descriptor, &peer)
	if err == syscall.EINPROGRESS {
		l.watch(descriptor, t, syscall.EPOLLOUT)
		return t
	}
	l.watch(descriptor, t, syscall.EPOLLIN)
	if err == nil {
		t.connected()
	} else {
		l.later = append(l.later, func() { t.close(err) })
	}
	return t
}

func addressCall(call uintptr, descriptor int, address *syscall.RawSockaddrInet4) error {
	_, _, errno := syscall.RawSyscall(call, uintptr(descriptor), uintptr(unsafe.Pointer(address)), syscall.SizeofSockaddrInet4)
	return errorOf(errno)
}

func (t *tunnel) writable() {
	failure, err := syscall.GetsockoptInt(t.descriptor, syscall.SOL_SOCKET, syscall.SO_ERROR)
	check("SO_ERROR", err)
	if failure != 0 {
		t.close(syscall.Errno(failure))
		return
	}
	t.loop.rearm(t.descriptor, syscall.EPOLLIN)
	t.connected()
}

func (t *tunnel) connected() {
	switch t.target.Protocol {
	case "connect":
		t.stage = requesting
		t.send([]byte(fmt.Sprintf("CONNECT %[1]s:%[2]d HTTP/1.1\r\nHost: %[1]s:%[2]d\r\n\r\n", t.target.Name, t.target.OriginPort)))
	case "socks5":
		t.stage = greeting
		t.send([]byte{5, 1, 0})
	default:
		t.begin(nil)
	}
}

func (t *tunnel) begin(rest []byte) {
	t.stage = open
	t.load.opened(t)
	if len(rest) > 0 {
		t.load.data(t, rest)
	}
}

func (t *tunnel) readable() {
	n, err := read(t.descriptor, t.loop.buffer)
	if err == syscall.EAGAIN {
		return
	}
	if err != nil || n == 0 {
		t.close(err)
		return
	}
	data := t.loop.buffer[:n]
	if t.stage == open {
		t.load.data(t, data)
		return
	}
	t.head = append(t.head, data...)
	if err := t.negotiate(); err != nil {
		t.close(err)
	}
}

// negotiate goes on once the proxy's answer is whole.
func (t *tunnel) negotiate() error {
	if t.stage == greeting && len(t.head) >= 2 {
		if !bytes.Equal(t.head[:2], []byte{5, 0}) {
			return fmt.Errorf("greeting answered with %v", t.head)
		}
		t.head, t.stage = t.head[2:], requesting
		request := append([]byte{5, 1, 0, 3, byte(len(t.target.Name))}, t.target.Name...)
		t.send(append(request, byte(t.target.OriginPort>>8), byte(t.target.OriginPort)))
		return nil
	}
	if t.stage != requesting {
		return nil
	}
	length, err := replyLength(t.target.Protocol, t.head)
	if length > 0 && err == nil {
		t.begin(t.head[length:])
	}
	return err
}

// replyLength of a whole reply that grants the tunnel, 0 of one that is not whole yet.
func replyLength(protocol string, head []byte) (int, error) {
	if protocol == "socks5" {
		return socksReplyLength(head)
	}
	end := bytes.Index(head, headEnd)
	if end < 0 {
		return 0, nil
	}
	if !bytes.HasPrefix(head, []byte("HTTP/1.1 200")) && !bytes.HasPrefix(head, []byte("HTTP/1.0 200")) {
		return 0, fmt.Errorf("refused: %s", head[:bytes.IndexByte(head, '\r')])
	}
	return end + len(headEnd), nil
}

func socksReplyLength(head []byte) (int, error) {
	if len(head) < 5 {
		return 0, nil
	}
	if head[1] != 0 {
		return 0, fmt.Errorf("refused: SOCKS reply %d", head[1])
	}
	length := map[byte]int{1: 10, 3: 7 + int(head[4]), 4: 22}[head[3]]
	if len(head) < length {
		return 0, nil
	}
	return length, nil
}

// send is for requests that always fit a socket's buffer.
func (t *tunnel) send(data []byte) {
	n, err := write(t.descriptor, data)
	if err == nil && n != len(data) {
		err = errors.New("a request did not fit the socket's buffer")
	}
	if err != nil {
		t.close(err)
	}
}

func (t *tunnel) close(err error) {
	if t.loop.connections[t.descriptor] != connection(t) {
		return
	}
	t.loop.drop(t.descriptor)
	t.load.ended(t, err)
}
