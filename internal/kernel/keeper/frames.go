package keeper

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// protocol is the version of what is spoken here. A keeper of another one is
// ended and its kernels with it.
const protocol = 1

// Limits of what is read.
const (
	maxRequest = 16 << 20 // bytes of a request or an answer
	maxFrame   = 1 << 30  // bytes of a frame: one message
	maxParts   = 1 << 20
)

// What a request asks for.
const (
	doOwn       = "own"       // the connection stays: its end is the end of the owner
	doStart     = "start"     // a kernel
	doAttach    = "attach"    // the connection becomes the kernel's: frames both ways
	doInterrupt = "interrupt" // a kernel
	doRestart   = "restart"   // a kernel
	doShutdown  = "shutdown"  // a kernel, and forget it
	doPrepare   = "prepare"   // waiting kernels of a kernelspec
	doNote      = "note"      // keep Note for the next owner
	doEnd       = "end"       // everything
)

// A request is the first line of a connection, as JSON. Its answer is a line too.
type request struct {
	Protocol int             `json:"protocol"`
	Do       string          `json:"do"`
	Kernel   string          `json:"kernel,omitempty"`
	After    uint64          `json:"after,omitempty"` // attach: the last message that is not wanted
	Config   *config         `json:"config,omitempty"`
	Base     *config         `json:"base,omitempty"` // of the kernels that wait
	Warm     int             `json:"warm,omitempty"` // how many of them
	Note     json.RawMessage `json:"note,omitempty"`
	Grace    time.Duration   `json:"grace,omitempty"`
}

// An answer is a line of JSON.
type answer struct {
	Error   string          `json:"error,omitempty"`
	Kind    problem.Kind    `json:"kind,omitempty"` // of Error
	Kernels []Found         `json:"kernels,omitempty"`
	Kernel  *Found          `json:"kernel,omitempty"`
	Note    json.RawMessage `json:"note,omitempty"`
}

func (a *answer) err() error {
	if a.Error == "" {
		return nil
	}
	return problem.New(a.Kind, "%s", a.Error)
}

// A config is the part of a kernel.Config that is said over a connection.
type config struct {
	Spec         kernel.Spec
	Dir          string
	Env          []string
	StartTimeout time.Duration
	SpillDir     string
	RuntimeDir   string
	Username     string
}

func configOf(c *kernel.Config) *config {
	return &config{
		Spec: c.Spec, Dir: c.Dir, Env: c.Env, StartTimeout: c.StartTimeout, SpillDir: c.SpillDir,
		RuntimeDir: c.RuntimeDir, Username: c.Username,
	}
}

func (c *config) config() kernel.Config {
	return kernel.Config{
		Spec: c.Spec, Dir: c.Dir, Env: c.Env, StartTimeout: c.StartTimeout, SpillDir: c.SpillDir,
		RuntimeDir: c.RuntimeDir, Username: c.Username,
	}
}

// A Found is a kernel that a keeper has.
type Found struct {
	ID         string            `json:"id"`
	Spec       kernel.Spec       `json:"spec"`
	Dir        string            `json:"dir"`
	Started    time.Time         `json:"started"`
	Active     time.Time         `json:"active"`             // when it said something last
	State      string            `json:"state"`              // starting, idle, busy or dead
	Settled    uint64            `json:"settled"`            // the last message that the owner settled
	Last       uint64            `json:"last"`               // the last message at all
	Generation int               `json:"generation"`         // counts restarts
	Sessions   map[string]uint64 `json:"sessions,omitempty"` // the last message that each client is known to have
	Pending    []Pending         `json:"pending,omitempty"`  // requests without an answer, oldest first
}

// A Pending is a request of a client that has no answer yet.
type Pending struct {
	Session string          `json:"session"`
	Channel wire.Channel    `json:"channel"`
	Header  json.RawMessage `json:"header"`
}

// A settlement says what the owner does not need to hear again.
type settlement struct {
	Seq      uint64            `json:"seq"`
	Sessions map[string]uint64 `json:"sessions"`
}

// A death is how a kernel ended.
type death struct {
	Text       string        `json:"text"`
	Generation int           `json:"generation"`
	Death      *kernel.Death `json:"death"`
}

// The kinds of frames: length (uvarint), kind (1 byte), content.
const (
	frameMessage = 'M' // to a kernel or from it
	frameSettled = 'S' // a settlement, to the keeper
	frameDeath   = 'D' // a death, from the keeper
)

func writeLine(w io.Writer, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

func readLine(r *bufio.Reader, v any) error {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxRequest {
			return problem.New(problem.TooLarge, "a request of more than %d bytes", maxRequest)
		}
		if err == nil {
			return json.Unmarshal(line, v)
		}
		if err != bufio.ErrBufferFull {
			return err
		}
	}
}

// frame puts a length and a kind before content.
func frame(kind byte, content []byte) []byte {
	b := binary.AppendUvarint(make([]byte, 0, len(content)+12), uint64(len(content)+1))
	return append(append(b, kind), content...)
}

// readFrame returns the next frame; its content is the caller's.
func readFrame(r *bufio.Reader) (kind byte, content []byte, err error) {
	n, err := binary.ReadUvarint(r)
	if err != nil {
		return 0, nil, err
	}
	if n < 1 || n > maxFrame {
		return 0, nil, problem.New(problem.Invalid, "a frame of %d bytes", n)
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return 0, nil, err
	}
	return b[0], b[1:], nil
}

// encodeMessage returns the frame of a message: its number, when it came, who
// sent it, its channel, and its parts.
func encodeMessage(session string, m *wire.Message) ([]byte, error) {
	parts, err := m.Parts()
	if err != nil {
		return nil, err
	}
	size := len(session) + 64
	for _, p := range parts {
		size += len(p) + 5
	}
	b := make([]byte, 0, size)
	b = binary.AppendUvarint(b, m.Seq)
	var at int64
	if !m.Received.IsZero() {
		at = m.Received.UnixNano()
	}
	b = binary.AppendVarint(b, at)
	b = appendBytes(b, []byte(session))
	b = appendBytes(b, []byte(m.Channel))
	b = binary.AppendUvarint(b, uint64(len(parts)))
	for _, p := range parts {
		b = appendBytes(b, p)
	}
	return frame(frameMessage, b), nil
}

func appendBytes(b, part []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(part))), part...)
}

// decodeMessage reads what encodeMessage wrote. The message keeps content.
func decodeMessage(content []byte) (session string, m *wire.Message, err error) {
	r := reader{b: content}
	seq, at := r.uvarint(), r.varint()
	session = string(r.bytes())
	channel := wire.Channel(r.bytes())
	n := r.uvarint()
	if r.bad || n > maxParts {
		return "", nil, problem.New(problem.Invalid, "a frame of %d bytes is no message", len(content))
	}
	parts := make([][]byte, n)
	for i := range parts {
		parts[i] = r.bytes()
	}
	if r.bad {
		return "", nil, problem.New(problem.Invalid, "a frame of %d bytes is no message", len(content))
	}
	if m, err = wire.ParseParts(channel, parts); err != nil {
		return "", nil, err
	}
	m.Seq = seq
	if at != 0 {
		m.Received = time.Unix(0, at)
	}
	return session, m, nil
}

// A reader takes numbers and strings off b. What is not there makes it bad.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	part := r.b[:n:n]
	r.b = r.b[n:]
	return part
}
