package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"sync"
	"time"

	"quire/internal/problem"
)

// delimiter separates the routing prefix from the signature.
var delimiter = []byte("<IDS|MSG>")

// replayWindow is the number of signatures remembered to refuse a repeated one.
const replayWindow = 1 << 14

// Codec signs and checks messages with one connection's key. An empty key
// means unsigned messages, as the protocol has it. It is safe for concurrent
// use.
type Codec struct {
	key []byte

	macs sync.Pool // hash.Hash keyed with key

	mu   sync.Mutex
	seen map[[sha256.Size]byte]struct{}
	ring [][sha256.Size]byte
	next int
}

// NewCodec returns a codec for the key of a connection file. The only scheme
// is hmac-sha256.
func NewCodec(key []byte) *Codec {
	c := &Codec{key: bytes.Clone(key)}
	c.macs.New = func() any { return hmac.New(sha256.New, c.key) }
	return c
}

// Encode returns the frames of m: routing prefix, delimiter, signature, parts.
func (c *Codec) Encode(m *Message) ([][]byte, error) {
	parts, err := m.Parts()
	if err != nil {
		return nil, err
	}
	frames := make([][]byte, 0, len(m.Identities)+2+len(parts))
	frames = append(frames, m.Identities...)
	frames = append(frames, delimiter, c.sign(parts[:4]))
	return append(frames, parts...), nil
}

// Decode checks the frames of a message that came on ch at the given time and
// returns it. A message whose signature is wrong or was seen before is refused
// with kind Denied, one of a wrong form with kind Invalid.
func (c *Codec) Decode(ch Channel, frames [][]byte, at time.Time) (*Message, error) {
	split := -1
	for i, f := range frames {
		if bytes.Equal(f, delimiter) {
			split = i
			break
		}
	}
	if split < 0 {
		return nil, problem.New(problem.Invalid, "message on %s without the delimiter %s", ch, delimiter)
	}
	if len(frames) < split+6 {
		return nil, problem.New(problem.Invalid, "message on %s has %d frames after the delimiter, want at least 5",
			ch, len(frames)-split-1)
	}
	signature, parts := frames[split+1], frames[split+2:]
	if err := c.verify(ch, signature, parts[:4]); err != nil {
		return nil, err
	}
	m, err := ParseParts(ch, parts)
	if err != nil {
		return nil, err
	}
	m.Identities, m.Received = frames[:split:split], at
	return m, nil
}

func (c *Codec) verify(ch Channel, signature []byte, parts [][]byte) error {
	if len(c.key) == 0 {
		return nil
	}
	if want := c.sign(parts); !hmac.Equal(signature, want) {
		return problem.New(problem.Denied, "message on %s with a wrong signature", ch)
	}
	var sum [sha256.Size]byte
	if _, err := hex.Decode(sum[:], signature); err != nil {
		return problem.WrapAs(problem.Invalid, err, "reading a signature on %s", ch)
	}
	if !c.remember(sum) {
		return problem.New(problem.Denied, "message on %s repeats the signature of an earlier one", ch)
	}
	return nil
}

// sign returns the hexadecimal HMAC of the parts, empty without a key.
func (c *Codec) sign(parts [][]byte) []byte {
	if len(c.key) == 0 {
		return []byte{}
	}
	mac, ok := c.macs.Get().(hash.Hash)
	if !ok {
		mac = hmac.New(sha256.New, c.key)
	}
	mac.Reset()
	for _, p := range parts {
		mac.Write(p)
	}
	var sum [sha256.Size]byte
	out := make([]byte, hex.EncodedLen(sha256.Size))
	hex.Encode(out, mac.Sum(sum[:0]))
	c.macs.Put(mac)
	return out
}

// remember notes a signature; it reports false when it is already known.
func (c *Codec) remember(sum [sha256.Size]byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.seen[sum]; known {
		return false
	}
	if c.seen == nil {
		c.seen = make(map[[sha256.Size]byte]struct{})
	}
	if len(c.ring) < replayWindow {
		c.ring = append(c.ring, sum)
	} else {
		delete(c.seen, c.ring[c.next])
		c.ring[c.next] = sum
		c.next = (c.next + 1) % replayWindow
	}
	c.seen[sum] = struct{}{}
	return true
}
