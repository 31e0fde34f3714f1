package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"syscall"
)

// The origin: what tunnels and requests lead to, and the DNS that names it. Its services are those of
// ../node/origin.ts.

var kilobyte = bytes.Repeat([]byte("k"), 1024)
var block = bytes.Repeat([]byte("b"), 512*1024)
var httpResponse = append(
	[]byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n"), kilobyte...)

// An accepted connection and what its service has still to do.
type served struct {
	loop       *loop
	descriptor int
	service    service
	received   int
	carried    []byte
	left       int
	blocked    bool
}

// A service takes bytes that have come.
type service func(s *served, data []byte)

func (s *served) readable() {
	n, err := read(s.descriptor, s.loop.buffer)
	if err == syscall.EAGAIN {
		return
	}
	if err != nil || n == 0 {
		s.loop.drop(s.descriptor)
		return
	}
	s.service(s, s.loop.buffer[:n])
}

func (s *served) writable() { s.fill() }

// send is for answers that always fit a socket's buffer; a client that lets them pile up is cut.
func (s *served) send(data []byte) {
	if n, err := write(s.descriptor, data); err != nil || n != len(data) {
		s.loop.drop(s.descriptor)
	}
}

func exchange(s *served, data []byte) {
	for s.received += len(data); s.received >= 1024; s.received -= 1024 {
		s.send(kilobyte)
	}
}

func echo(s *served, data []byte) { s.send(data) }

func source(s *served, data []byte) {
	s.carried = append(s.carried, data...)
	end := bytes.IndexByte(s.carried, '\n')
	if end < 0 {
		return
	}
	size, _ := strconv.Atoi(string(s.carried[:end]))
	s.carried = s.carried[end+1:]
	s.left += size
	s.fill()
}

// fill sends what the socket takes and asks to be called again for the rest.
func (s *served) fill() {
	for s.left > 0 {
		n, err := write(s.descriptor, block[:min(s.left, len(block))])
		if err == syscall.EAGAIN {
			s.block(true)
			return
		}
		if err != nil {
			s.loop.drop(s.descriptor)
			return
		}
		s.left -= n
	}
	s.block(false)
}

func (s *served) block(blocked bool) {
	if s.blocked == blocked {
		return
	}
	s.blocked = blocked
	events := uint32(syscall.EPOLLIN)
	if blocked {
		events |= syscall.EPOLLOUT
	}
	s.loop.rearm(s.descriptor, events)
}

// http counts the ends of heads; requests have no bodies here.
func http(s *served, data []byte) {
	if len(s.carried) > 0 {
		s.carried = append(s.carried, data...)
		data = s.carried
	}
	for end := bytes.Index(data, headEnd); end >= 0; end = bytes.Index(data, headEnd) {
		data = data[end+len(headEnd):]
		s.send(httpResponse)
	}
	s.carried = append(s.carried[:0], data...)
}

type listener struct {
	loop       *loop
	descriptor int
	service    service
}

func (l *listener) writable() {}
func (l *listener) readable() {
	for {
		descriptor, _, err := syscall.Accept4(l.descriptor, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		l.loop.watch(descriptor, &served{loop: l.loop, descriptor: descriptor, service: l.service}, syscall.EPOLLIN)
	}
}

var loopback = [4]byte{127, 0, 0, 1}

// listen gives every loop a listening socket on one port (SO_REUSEPORT), and returns the port.
func listen(loops []*loop, service service) int {
	port := 0
	for _, l := range loops {
		descriptor := boundSocket(syscall.SOCK_STREAM, port)
		check("listen", syscall.Listen(descriptor, 4096))
		l.watch(descriptor, &listener{l, descriptor, service}, syscall.EPOLLIN)
		port = portOf(descriptor)
	}
	return port
}

func boundSocket(kind, port int) int {
	const reusePort = 15
	descriptor, err := syscall.Socket(syscall.AF_INET, kind|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	check("socket", err)
	check("SO_REUSEPORT", syscall.SetsockoptInt(descriptor, syscall.SOL_SOCKET, reusePort, 1))
	check("bind", syscall.Bind(descriptor, &syscall.SockaddrInet4{Addr: loopback, Port: port}))
	return descriptor
}

func portOf(descriptor int) int {
	address, err := syscall.Getsockname(descriptor)
	check("getsockname", err)
	return address.(*syscall.SockaddrInet4).Port
}

// The DNS: every A question is answered with 127.0.0.1, every other with no data.
type nameServer struct {
	loop       *loop
	descriptor int
}

func (d *nameServer) writable() {}
func (d *nameServer) readable() {
	n, from, err := syscall.Recvfrom(d.descriptor, d.loop.buffer, syscall.MSG_DONTWAIT)
	if err != nil {
		return
	}
	if reply := answer(d.loop.buffer[:n]); reply != nil {
		_ = syscall.Sendto(d.descriptor, reply, syscall.MSG_DONTWAIT, from)
	}
}

// answer turns a question of one name into its answer (RFC 1035, section 4.1).
func answer(question []byte) []byte {
	end := 12
	for end < len(question) && question[end] != 0 {
		end += int(question[end]) + 1
	}
	end += 5
	if end > len(question) {
		return nil
	}
	reply := append([]byte{}, question[:end]...)
	copy(reply[2:], []byte{0x84 | question[2]&1, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
	if reply[end-3] == 1 {
		reply[7] = 1
		reply = append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 127, 0, 0, 1)
	}
	return reply
}

func runOrigin() {
	loops := make([]*loop, loopCount())
	for i := range loops {
		loops[i] = newLoop()
	}
	names := &nameServer{loops[0], boundSocket(syscall.SOCK_DGRAM, 0)}
	loops[0].watch(names.descriptor, names, syscall.EPOLLIN)
	ports, _ := json.Marshal(map[string]int{
		"exchange": listen(loops, exchange), "echo": listen(loops, echo), "source": listen(loops, source),
		"http": listen(loops, http), "dns": portOf(names.descriptor),
	})
	for _, l := range loops {
		go l.run()
	}
	fmt.Println(string(ports))
	// The parent holds the other end: when it is gone, so is the origin.
	_, _ = io.Copy(io.Discard, os.Stdin)
}
