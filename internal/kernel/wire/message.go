package wire

import (
	"bytes"
	"encoding/json"
	"time"

	"quire/internal/problem"
)

// ProtocolVersion is the version of the messages that Quire sends.
const ProtocolVersion = "5.4"

// DefaultMaxMessage is the size in bytes over which a message is refused when
// no other limit is given.
const DefaultMaxMessage = 512 << 20

// Channel names one of a kernel's sockets.
type Channel string

// The channels that carry messages. The heartbeat carries none.
const (
	Shell   Channel = "shell"
	IOPub   Channel = "iopub"
	Stdin   Channel = "stdin"
	Control Channel = "control"
)

// Header is the header of a message. The zero value stands for an absent
// parent: a message that nobody asked for.
type Header struct {
	MsgID      string   `json:"msg_id"`
	Session    string   `json:"session"`
	Username   string   `json:"username"`
	Date       string   `json:"date"` // ISO 8601; UTC in messages that we send
	MsgType    string   `json:"msg_type"`
	Version    string   `json:"version"`
	SubshellID Subshell `json:"subshell_id,omitempty"` // protocol 5.5; empty is the main shell
}

// Subshell is the id of a kernel's subshell; empty is the main shell.
type Subshell string

// UnmarshalJSON reads a string. Null is the main shell, and so is {}: R kernels
// answer with it to JupyterLab, which names the main shell with null.
func (s *Subshell) UnmarshalJSON(raw []byte) error {
	if isEmptyObject(raw) {
		*s = ""
		return nil
	}
	return json.Unmarshal(raw, (*string)(s))
}

// Message is one message of the Jupyter protocol. A Message that was received
// is not changed by this package afterwards; its byte slices are the reader's.
type Message struct {
	Channel      Channel
	Identities   [][]byte // ZeroMQ routing prefix; on iopub the topic
	Header       Header
	ParentHeader Header
	Metadata     json.RawMessage // an object; empty is sent as {}
	Content      json.RawMessage // an object; empty is sent as {}
	Buffers      [][]byte
	Received     time.Time // when the last byte came; zero for a message of ours
	Seq          uint64    // its number at the keeper of its kernel, from 1 up; zero where nobody counts

	rawHeader json.RawMessage // as received, to answer with it
	rawParent json.RawMessage
}

// Type returns the message's type, such as "stream".
func (m *Message) Type() string { return m.Header.MsgType }

// RawHeader returns the header's JSON as it was received, fields that this
// package does not know included. For a message of ours it is empty.
func (m *Message) RawHeader() json.RawMessage { return m.rawHeader }

// RawParent returns the parent header's JSON as it was received, or as
// SetParent set it; empty when there is no parent.
func (m *Message) RawParent() json.RawMessage { return m.rawParent }

// SetParent makes p the message that m answers.
func (m *Message) SetParent(p *Message) {
	m.ParentHeader, m.rawParent = p.Header, p.rawHeader
}

// Decode unmarshals the content into v.
func (m *Message) Decode(v any) error {
	if err := json.Unmarshal(m.Content, v); err != nil {
		return problem.WrapAs(problem.Invalid, err, "decoding the content of a %s message", m.Header.MsgType)
	}
	return nil
}

// Size returns the bytes that the message's parts hold.
func (m *Message) Size() int {
	n := len(m.rawHeader) + len(m.rawParent) + len(m.Metadata) + len(m.Content)
	for _, b := range m.Buffers {
		n += len(b)
	}
	for _, b := range m.Identities {
		n += len(b)
	}
	return n
}

// FormatDate writes t as the protocol's dates: ISO 8601, UTC, microseconds.
func FormatDate(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z") }

// Parts returns the message as frames without routing prefix and signature:
// header, parent, metadata, content, buffers. ParseParts is its inverse.
func (m *Message) Parts() ([][]byte, error) {
	header := []byte(m.rawHeader)
	if len(header) == 0 {
		var err error
		if header, err = json.Marshal(m.Header); err != nil {
			return nil, problem.Wrap(err, "encoding a message header")
		}
	}
	parent := []byte(m.rawParent)
	if len(parent) == 0 {
		parent = []byte("{}")
		if m.ParentHeader != (Header{}) {
			var err error
			if parent, err = json.Marshal(m.ParentHeader); err != nil {
				return nil, problem.Wrap(err, "encoding a parent header")
			}
		}
	}
	parts := make([][]byte, 0, 4+len(m.Buffers))
	parts = append(parts, header, parent, orEmpty(m.Metadata), orEmpty(m.Content))
	return append(parts, m.Buffers...), nil
}

func orEmpty(raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return []byte("{}")
	}
	return raw
}

// ParseParts reads the frames that follow the signature. The message keeps the
// slices. Errors are of kind Invalid and name the part.
func ParseParts(ch Channel, parts [][]byte) (*Message, error) {
	if len(parts) < 4 {
		return nil, problem.New(problem.Invalid, "message of %d parts after the signature, want at least 4", len(parts))
	}
	m := &Message{Channel: ch, rawHeader: parts[0], rawParent: parts[1]}
	if len(parts) > 4 {
		m.Buffers = parts[4:]
	}
	if err := unmarshalObject("header", parts[0], &m.Header); err != nil {
		return nil, err
	}
	if m.Header.MsgID == "" || m.Header.MsgType == "" {
		return nil, problem.New(problem.Invalid, "message header without msg_id or msg_type")
	}
	if isEmptyObject(parts[1]) {
		m.rawParent = nil
	} else if err := unmarshalObject("parent header", parts[1], &m.ParentHeader); err != nil {
		return nil, err
	}
	for i, name := range []string{2: "metadata", 3: "content"} {
		if name == "" {
			continue
		}
		if isEmptyObject(parts[i]) {
			parts[i] = []byte("{}")
			continue
		}
		if !isObject(parts[i]) || !json.Valid(parts[i]) {
			return nil, problem.New(problem.Invalid, "%s message: %s is not a JSON object", clip(m.Header.MsgType), name)
		}
	}
	m.Metadata, m.Content = parts[2], parts[3]
	return m, nil
}

func unmarshalObject(name string, raw []byte, v *Header) error {
	if !isObject(raw) {
		return problem.New(problem.Invalid, "message %s is not a JSON object", name)
	}
	// A null or missing field stays empty. A field of a wrong type is refused.
	if err := json.Unmarshal(raw, v); err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading a message %s", name)
	}
	return nil
}

func isObject(raw []byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == '{'
}

func isEmptyObject(raw []byte) bool {
	if len(raw) > 16 {
		return false
	}
	// R kernels write an absent parent or empty metadata as null or [].
	switch string(bytes.TrimSpace(raw)) {
	case "{}", "{ }", "null", "[]":
		return true
	}
	return false
}

// clip shortens foreign text for an error message.
func clip(s string) string {
	if len(s) > 64 {
		return s[:64] + "..."
	}
	return s
}
