package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"

	"quire/internal/problem"
	"quire/internal/socket"
)

// SocketType is the type of a ZeroMQ socket.
type SocketType string

// The socket types of the Jupyter protocol.
const (
	Dealer SocketType = "DEALER"
	Router SocketType = "ROUTER"
	Sub    SocketType = "SUB"
	Pub    SocketType = "PUB"
	Rep    SocketType = "REP" // of the heartbeat
)

// Limits of ZMTP's small parts. They are far above what a kernel sends.
const (
	maxCommand  = 64 << 10 // bytes of a command frame
	maxFrames   = 1 << 16  // frames of one message
	readBuffer  = 64 << 10 // bytes
	growStep    = 1 << 20  // bytes that one announced frame may take before it has come
	greetingLen = 64
)

// ZMTP frame flags.
const (
	flagMore    = 1 << 0
	flagLong    = 1 << 1
	flagCommand = 1 << 2
)

// Options of a connection. The zero value is right for a client.
type Options struct {
	Identity   []byte // our routing identity, at most 255 bytes; empty for none
	MaxMessage int64  // bytes of one message that may be received; zero is DefaultMaxMessage
	AsServer   bool   // the side that bound; it matters to no mechanism but is part of the greeting
}

// Conn is one ZMTP connection after its handshake. One goroutine may read
// while others write.
type Conn struct {
	nc   net.Conn
	r    *bufio.Reader
	max  int64
	peer map[string]string // the peer's READY properties

	wmu  sync.Mutex
	head []byte // scratch for frame headers
}

// NewConn performs the handshake over nc, as a socket of type t. The caller
// bounds its time with nc's deadline, and closes nc when there is an error.
func NewConn(nc net.Conn, t SocketType, opt Options) (*Conn, error) {
	if opt.MaxMessage <= 0 {
		opt.MaxMessage = DefaultMaxMessage
	}
	c := &Conn{nc: nc, r: bufio.NewReaderSize(patient{nc}, readBuffer), max: opt.MaxMessage}
	if err := c.handshake(t, opt); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "ZeroMQ handshake")
	}
	return c, nil
}

// patient reads a connection. Its deadline cuts off nothing that has come.
type patient struct{ net.Conn }

// Read implements io.Reader.
func (p patient) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if source, ok := p.Conn.(socket.Source); ok && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return socket.ReadNow(source, b)
	}
	return n, err
}

// Close closes the connection; a reader is woken with an error.
func (c *Conn) Close() error { return c.nc.Close() }

// NetConn returns the connection underneath, for deadlines.
func (c *Conn) NetConn() net.Conn { return c.nc }

// PeerIdentity returns the routing identity that the peer announced; it may be
// empty.
func (c *Conn) PeerIdentity() []byte { return []byte(c.peer["identity"]) }

func (c *Conn) handshake(t SocketType, opt Options) error {
	var greeting [greetingLen]byte
	greeting[0], greeting[9] = 0xff, 0x7f
	greeting[10] = 3 // version 3.0
	copy(greeting[12:], "NULL")
	if opt.AsServer {
		greeting[32] = 1
	}
	ready := appendReady(nil, t, opt.Identity)
	// Both are sent at once: a peer reads its part when it comes to it.
	if _, err := c.nc.Write(append(greeting[:], ready...)); err != nil {
		return err
	}
	var theirs [greetingLen]byte
	if _, err := io.ReadFull(c.r, theirs[:]); err != nil {
		return err
	}
	if theirs[0] != 0xff || theirs[9]&1 != 1 || theirs[10] < 3 {
		return errors.New("the peer does not speak ZMTP 3")
	}
	if mech := bytes.TrimRight(theirs[12:32], "\x00"); string(mech) != "NULL" {
		return fmt.Errorf("the peer wants the mechanism %q, we have only NULL", mech)
	}
	return c.readReady(t)
}

func appendReady(b []byte, t SocketType, identity []byte) []byte {
	body := []byte("\x05READY")
	body = appendProperty(body, "Socket-Type", []byte(t))
	if t == Dealer || t == Router {
		body = appendProperty(body, "Identity", identity)
	}
	return append(append(b, flagCommand, byte(len(body))), body...)
}

func appendProperty(b []byte, name string, value []byte) []byte {
	b = append(append(b, byte(len(name))), name...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

func (c *Conn) readReady(t SocketType) error {
	flags, size, err := c.readFrameHeader()
	if err != nil {
		return err
	}
	if flags&flagCommand == 0 || size > maxCommand {
		return errors.New("the peer's first frame is not a READY command")
	}
	body, err := c.readBody(size)
	if err != nil {
		return err
	}
	if name, rest, ok := cutShort(body); !ok || string(name) != "READY" {
		if ok && string(name) == "ERROR" {
			return fmt.Errorf("the peer refused the connection: %q", clip(string(rest)))
		}
		return errors.New("the peer's first command is not READY")
	} else if c.peer, err = parseProperties(rest); err != nil {
		return err
	}
	if want := peerOf(t); SocketType(c.peer["socket-type"]) != want &&
		"X"+want != SocketType(c.peer["socket-type"]) {
		return fmt.Errorf("the peer is a %q socket, want %s", clip(c.peer["socket-type"]), want)
	}
	return nil
}

func peerOf(t SocketType) SocketType {
	switch t {
	case Dealer:
		return Router
	case Router:
		return Dealer
	case Sub:
		return Pub
	case Rep:
		return "REQ"
	}
	return Sub
}

// cutShort splits off a string with a length of one byte in front.
func cutShort(b []byte) (s, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

func parseProperties(b []byte) (map[string]string, error) {
	props := make(map[string]string)
	for len(b) > 0 {
		name, rest, ok := cutShort(b)
		if !ok || len(rest) < 4 {
			return nil, errors.New("the peer's READY command is cut short")
		}
		n := binary.BigEndian.Uint32(rest)
		if uint64(n) > uint64(len(rest)-4) {
			return nil, errors.New("the peer's READY command is cut short")
		}
		props[string(bytes.ToLower(name))] = string(rest[4 : 4+n])
		b = rest[4+n:]
	}
	return props, nil
}

// Subscribe asks a PUB peer for every message whose topic begins with prefix.
func (c *Conn) Subscribe(prefix []byte) error {
	return c.WriteFrames([][]byte{append([]byte{1}, prefix...)})
}

// WriteFrames sends one message. Messages of concurrent callers do not mix.
func (c *Conn) WriteFrames(frames [][]byte) error {
	if len(frames) == 0 {
		return problem.New(problem.Internal, "writing a message without frames")
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	small := 0
	for _, f := range frames {
		small += len(f) + 9
	}
	if small <= readBuffer {
		return c.writeSmall(frames)
	}
	heads := make([]byte, 0, 9*len(frames))
	bufs := make(net.Buffers, 0, 2*len(frames))
	for i, f := range frames {
		start := len(heads)
		heads = appendFrameHeader(heads, len(f), i < len(frames)-1)
		bufs = append(bufs, heads[start:], f)
	}
	_, err := bufs.WriteTo(c.nc)
	return err
}

// writeSmall joins the frames, so that a common message is one system call.
func (c *Conn) writeSmall(frames [][]byte) error {
	b := c.head[:0]
	for i, f := range frames {
		b = appendFrameHeader(b, len(f), i < len(frames)-1)
		b = append(b, f...)
	}
	c.head = b
	_, err := c.nc.Write(b)
	return err
}

func appendFrameHeader(b []byte, size int, more bool) []byte {
	var flags byte
	if more {
		flags = flagMore
	}
	if size < 256 {
		return append(b, flags, byte(size))
	}
	return binary.BigEndian.AppendUint64(append(b, flags|flagLong), uint64(size))
}

// ReadFrames returns the next message; commands are answered or passed over.
// A message over the limit is an error of kind TooLarge, after which the
// connection cannot be used any more. The end of the connection is io.EOF.
func (c *Conn) ReadFrames() ([][]byte, error) {
	frames := make([][]byte, 0, 8)
	var total int64
	for {
		flags, size, err := c.readFrameHeader()
		if err != nil {
			return nil, endOf(err, len(frames) > 0)
		}
		if flags&flagCommand != 0 {
			if err := c.command(size); err != nil {
				return nil, err
			}
			continue
		}
		if size > uint64(c.max) || total+int64(size) > c.max || len(frames) >= maxFrames {
			return nil, problem.New(problem.TooLarge, "message of more than %d bytes or %d frames", c.max, maxFrames)
		}
		total += int64(size)
		body, err := c.readBody(size)
		if err != nil {
			return nil, endOf(err, true)
		}
		frames = append(frames, body)
		if flags&flagMore == 0 {
			return frames, nil
		}
	}
}

// endOf tells the end of a connection between messages from one inside.
func endOf(err error, inside bool) error {
	if inside && errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// command reads a command frame. A PING (ZMTP 3.1) is answered.
func (c *Conn) command(size uint64) error {
	if size > maxCommand {
		return problem.New(problem.TooLarge, "command of %d bytes, the limit is %d", size, maxCommand)
	}
	body, err := c.readBody(size)
	if err != nil {
		return endOf(err, true)
	}
	name, rest, ok := cutShort(body)
	if !ok || string(name) != "PING" || len(rest) < 2 {
		return nil
	}
	pong := append([]byte("\x04PONG"), rest[2:min(len(rest), 18)]...)
	c.wmu.Lock()
	defer c.wmu.Unlock()
	_, err = c.nc.Write(append([]byte{flagCommand, byte(len(pong))}, pong...))
	return err
}

func (c *Conn) readFrameHeader() (flags byte, size uint64, err error) {
	if flags, err = c.r.ReadByte(); err != nil {
		return 0, 0, err
	}
	if flags&^(flagMore|flagLong|flagCommand) != 0 {
		return 0, 0, problem.New(problem.Invalid, "frame with the unknown flags %#x", flags)
	}
	if flags&flagLong == 0 {
		b, err := c.r.ReadByte()
		return flags, uint64(b), endOf(err, true)
	}
	var long [8]byte
	if _, err := io.ReadFull(c.r, long[:]); err != nil {
		return 0, 0, endOf(err, true)
	}
	return flags, binary.BigEndian.Uint64(long[:]), nil
}

// readBody reads a frame's body. Memory grows with what really came, so that
// an announced size alone costs nothing.
func (c *Conn) readBody(size uint64) ([]byte, error) {
	if size <= growStep {
		body := make([]byte, size)
		_, err := io.ReadFull(c.r, body)
		return body, err
	}
	body := make([]byte, growStep, 2*growStep)
	have := 0
	for {
		n, err := io.ReadFull(c.r, body[have:])
		have += n
		if err != nil || uint64(have) == size {
			return body[:have], err
		}
		grown := min(uint64(have)*2, size)
		next := make([]byte, grown)
		copy(next, body[:have])
		body = next
	}
}
