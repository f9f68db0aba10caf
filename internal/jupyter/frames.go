package jupyter

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"unicode/utf8"

	"github.com/coder/websocket"

	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

// protocolV1 is the subprotocol whose frames are the kernel's own parts.
const protocolV1 = "v1.kernel.websocket.jupyter.org"

// maxParts bounds the parts of one frame: four, a channel and buffers.
const maxParts = 4096

// A framing turns messages into WebSocket frames and back.
type framing interface {
	encode(m *wire.Message) (websocket.MessageType, []byte, error)
	decode(kind websocket.MessageType, frame []byte) (*wire.Message, error)
}

// framingFor returns the framing of the subprotocol that was agreed on.
func framingFor(subprotocol string) framing {
	if subprotocol == protocolV1 {
		return framesV1{}
	}
	return framesDefault{}
}

// framesV1: binary frames of the number of offsets, the offsets, and then
// channel, header, parent header, metadata, content and buffers; all numbers
// are 64 bits, little-endian.
type framesV1 struct{}

func (framesV1) encode(m *wire.Message) (websocket.MessageType, []byte, error) {
	parts, err := m.Parts()
	if err != nil {
		return 0, nil, err
	}
	count := len(parts) + 2 // the channel, and the end of the frame
	size := 8*(count+1) + len(m.Channel)
	for _, p := range parts {
		size += len(p)
	}
	b := make([]byte, 0, size)
	b = binary.LittleEndian.AppendUint64(b, uint64(count))
	at := uint64(8 * (count + 1))
	b = binary.LittleEndian.AppendUint64(b, at)
	at += uint64(len(m.Channel))
	b = binary.LittleEndian.AppendUint64(b, at)
	for _, p := range parts {
		at += uint64(len(p))
		b = binary.LittleEndian.AppendUint64(b, at)
	}
	b = append(b, m.Channel...)
	for _, p := range parts {
		b = append(b, p...)
	}
	return websocket.MessageBinary, b, nil
}

func (framesV1) decode(kind websocket.MessageType, frame []byte) (*wire.Message, error) {
	if kind != websocket.MessageBinary || len(frame) < 8 {
		return nil, problem.New(problem.Invalid, "a frame of %d bytes that is not binary: want %s", len(frame), protocolV1)
	}
	count := binary.LittleEndian.Uint64(frame)
	if count < 6 || count > maxParts || uint64(len(frame)) < 8*(count+1) {
		return nil, problem.New(problem.Invalid, "a frame of %d bytes with %d offsets", len(frame), count)
	}
	parts := make([][]byte, count-1)
	last := 8 * (count + 1)
	for i := range parts {
		from, to := binary.LittleEndian.Uint64(frame[8*(i+1):]), binary.LittleEndian.Uint64(frame[8*(i+2):])
		if from < last || to < from || to > uint64(len(frame)) {
			return nil, problem.New(problem.Invalid, "part %d of a frame reaches from %d to %d of %d bytes", i, from, to, len(frame))
		}
		last = to
		parts[i] = frame[from:to:to]
	}
	return fromClient(wire.Channel(parts[0]), parts[1:])
}

// framesDefault: JSON, as a text frame; with buffers a binary frame of the
// number of parts, their offsets (32 bits, big-endian), the JSON, the buffers.
type framesDefault struct{}

func (framesDefault) encode(m *wire.Message) (websocket.MessageType, []byte, error) {
	parts, err := m.Parts()
	if err != nil {
		return 0, nil, err
	}
	text := make([]byte, 0, m.Size()+len(parts[0])+256)
	text = append(text, `{"channel":`...)
	text = appendString(text, string(m.Channel))
	for i, name := range []string{"header", "parent_header", "metadata", "content"} {
		text = append(append(append(text, `,"`...), name...), `":`...)
		text = append(text, parts[i]...)
	}
	text = append(text, `,"buffers":[],"msg_id":`...)
	text = appendString(text, m.Header.MsgID)
	text = append(text, `,"msg_type":`...)
	text = appendString(text, m.Header.MsgType)
	text = append(text, '}')
	if !utf8.Valid(text) { // a browser closes the socket over one wrong byte
		text = bytes.ToValidUTF8(text, []byte("\uFFFD"))
	}
	if len(m.Buffers) == 0 {
		return websocket.MessageText, text, nil
	}
	return websocket.MessageBinary, joinBuffers(text, m.Buffers), nil
}

// joinBuffers makes the binary frame of the default protocol.
func joinBuffers(text []byte, buffers [][]byte) []byte {
	count := 1 + len(buffers)
	at := 4 * (count + 1)
	b := binary.BigEndian.AppendUint32(nil, uint32(count))
	b = binary.BigEndian.AppendUint32(b, uint32(at))
	at += len(text)
	for _, p := range buffers {
		b = binary.BigEndian.AppendUint32(b, uint32(at))
		at += len(p)
	}
	b = append(b, text...)
	for _, p := range buffers {
		b = append(b, p...)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	quoted, err := json.Marshal(s)
	if err != nil { // strings always marshal
		return append(b, `""`...)
	}
	return append(b, quoted...)
}

func (framesDefault) decode(kind websocket.MessageType, frame []byte) (*wire.Message, error) {
	text, buffers := frame, [][]byte(nil)
	if kind == websocket.MessageBinary {
		parts, err := splitBuffers(frame)
		if err != nil {
			return nil, err
		}
		text, buffers = parts[0], parts[1:]
	}
	var m struct {
		Channel  string          `json:"channel"`
		Header   json.RawMessage `json:"header"`
		Parent   json.RawMessage `json:"parent_header"`
		Metadata json.RawMessage `json:"metadata"`
		Content  json.RawMessage `json:"content"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "reading a message")
	}
	parts := [][]byte{m.Header, m.Parent, m.Metadata, m.Content}
	for i, p := range parts[1:] {
		if len(p) == 0 {
			parts[i+1] = []byte("{}")
		}
	}
	return fromClient(wire.Channel(m.Channel), append(parts, buffers...))
}

func splitBuffers(frame []byte) ([][]byte, error) {
	if len(frame) < 4 {
		return nil, problem.New(problem.Invalid, "a binary frame of %d bytes", len(frame))
	}
	count := uint64(binary.BigEndian.Uint32(frame))
	if count < 1 || count > maxParts || uint64(len(frame)) < 4*(count+1) {
		return nil, problem.New(problem.Invalid, "a frame of %d bytes with %d parts", len(frame), count)
	}
	parts := make([][]byte, count)
	last := 4 * (count + 1)
	for i := range parts {
		from, to := uint64(binary.BigEndian.Uint32(frame[4*(i+1):])), uint64(len(frame))
		if uint64(i) < count-1 {
			to = uint64(binary.BigEndian.Uint32(frame[4*(i+2):]))
		}
		if from < last || to < from || to > uint64(len(frame)) {
			return nil, problem.New(problem.Invalid, "part %d of a frame reaches from %d to %d of %d bytes", i, from, to, len(frame))
		}
		last = to
		parts[i] = frame[from:to:to]
	}
	return parts, nil
}

// fromClient checks what a client sent.
func fromClient(ch wire.Channel, parts [][]byte) (*wire.Message, error) {
	switch ch {
	case wire.Shell, wire.Control, wire.Stdin:
	default:
		return nil, problem.New(problem.Invalid, "channel %.20q: want shell, control or stdin", string(ch))
	}
	return wire.ParseParts(ch, parts)
}
