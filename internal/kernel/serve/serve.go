// Package serve is the kernel's side of the Jupyter protocol's sockets: what
// listens on the ports of a connection file. What a kernel answers is its own.
package serve

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// maxConnection is the largest connection file that is read, in bytes.
const maxConnection = 64 << 10

// Connection is the part of a connection file that a kernel needs.
type Connection struct {
	Transport   string `json:"transport"`
	IP          string `json:"ip"`
	ShellPort   int    `json:"shell_port"`
	IOPubPort   int    `json:"iopub_port"`
	StdinPort   int    `json:"stdin_port"`
	ControlPort int    `json:"control_port"`
	HBPort      int    `json:"hb_port"`
	Key         string `json:"key"`
}

// ReadConnection reads a connection file.
func ReadConnection(file string) (Connection, error) {
	var c Connection
	f, err := os.Open(file)
	if err != nil {
		return c, problem.WrapAs(problem.Invalid, err, "opening the connection file")
	}
	defer f.Close()
	err = json.NewDecoder(io.LimitReader(f, maxConnection)).Decode(&c)
	return c, problem.WrapAs(problem.Invalid, err, "reading the connection file %s", file)
}

// Listen listens on one of the connection's ports.
func (c Connection) Listen(port int) (net.Listener, error) {
	if c.Transport == "ipc" {
		return net.Listen("unix", fmt.Sprintf("%s-%d", c.IP, port))
	}
	return net.Listen("tcp", net.JoinHostPort(c.IP, strconv.Itoa(port)))
}

// A Router is a ROUTER socket: frames come with their sender's identity in front.
type Router struct {
	mu     sync.Mutex
	serial int
	conns  map[string]*wire.Conn
}

// NewRouter serves a listener until it is closed, and calls got with what comes,
// from one goroutine for each peer.
func NewRouter(l net.Listener, got func(r *Router, frames [][]byte)) *Router {
	r := &Router{conns: make(map[string]*wire.Conn)}
	go accept(l, wire.Router, func(c *wire.Conn) {
		id := c.PeerIdentity()
		r.mu.Lock()
		if len(id) == 0 {
			r.serial++
			id = fmt.Appendf(nil, "\x00%d", r.serial)
		}
		r.conns[string(id)] = c
		r.mu.Unlock()
		defer func() {
			r.mu.Lock()
			if r.conns[string(id)] == c {
				delete(r.conns, string(id))
			}
			r.mu.Unlock()
		}()
		for {
			frames, err := c.ReadFrames()
			if err != nil {
				return
			}
			got(r, append([][]byte{id}, frames...))
		}
	})
	return r
}

// Send routes by the first frame. Without such a peer the message is dropped,
// as ZeroMQ has it.
func (r *Router) Send(frames [][]byte) {
	if len(frames) == 0 {
		return
	}
	r.mu.Lock()
	c := r.conns[string(frames[0])]
	r.mu.Unlock()
	if c != nil {
		_ = c.WriteFrames(frames[1:])
	}
}

// A Publisher is a PUB socket. Messages before the first subscription are lost,
// as with the real one.
type Publisher struct {
	mu   sync.Mutex
	subs map[*wire.Conn]bool
}

// NewPublisher serves a listener until it is closed.
func NewPublisher(l net.Listener) *Publisher {
	p := &Publisher{subs: make(map[*wire.Conn]bool)}
	go accept(l, wire.Pub, func(c *wire.Conn) {
		for {
			frames, err := c.ReadFrames()
			if err != nil {
				p.mu.Lock()
				delete(p.subs, c)
				p.mu.Unlock()
				return
			}
			if len(frames) == 1 && len(frames[0]) == 1 {
				p.mu.Lock()
				p.subs[c] = frames[0][0] == 1
				p.mu.Unlock()
			}
		}
	})
	return p
}

// Send sends to all who have subscribed.
func (p *Publisher) Send(frames [][]byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c, on := range p.subs {
		if on {
			_ = c.WriteFrames(frames)
		}
	}
}

// Heartbeat answers what comes with itself, until the listener is closed.
func Heartbeat(l net.Listener) {
	go accept(l, wire.Rep, func(c *wire.Conn) {
		for {
			frames, err := c.ReadFrames()
			if err != nil || c.WriteFrames(frames) != nil {
				return
			}
		}
	})
}

// accept serves the connections of a listener until it is closed. A connection
// ends with its peer, the last ones with the process.
func accept(l net.Listener, t wire.SocketType, serve func(*wire.Conn)) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer nc.Close()
			c, err := wire.NewConn(nc, t, wire.Options{AsServer: true})
			if err == nil {
				serve(c)
			}
		}()
	}
}
