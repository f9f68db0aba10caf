package wire

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"quire/internal/problem"
)

func sample() *Message {
	return &Message{
		Identities: [][]byte{[]byte("id")},
		Header: Header{
			MsgID: "m1", Session: "s", Username: "u", Date: FormatDate(time.Unix(0, 0)), MsgType: "stream", Version: "5.4",
		},
		ParentHeader: Header{MsgID: "p1", MsgType: "execute_request"},
		Content:      json.RawMessage(`{"name":"stdout","text":"hi"}`),
		Buffers:      [][]byte{{0, 1, 2}, {}},
	}
}

func TestCodecRoundTrip(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"", "secret"} {
		frames, err := NewCodec([]byte(key)).Encode(sample())
		if err != nil {
			t.Fatal(err)
		}
		got, err := NewCodec([]byte(key)).Decode(IOPub, frames, time.Unix(1, 0))
		if err != nil {
			t.Fatal(err)
		}
		want := sample()
		if got.Header != want.Header || got.ParentHeader != want.ParentHeader || string(got.Content) != string(want.Content) ||
			string(got.Metadata) != "{}" || len(got.Buffers) != 2 || !bytes.Equal(got.Buffers[0], want.Buffers[0]) ||
			string(got.Identities[0]) != "id" || got.Channel != IOPub || !got.Received.Equal(time.Unix(1, 0)) {
			t.Errorf("key %q: got %+v", key, got)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	header := `{"msg_id":"a","msg_type":"b","session":"","username":"","date":"","version":"5.3"}`
	for _, tt := range []struct {
		name   string
		change func([][]byte) [][]byte
		kind   problem.Kind
		text   string
	}{
		{"nothing", func([][]byte) [][]byte { return nil }, problem.Invalid, "delimiter"},
		{"no delimiter", func(f [][]byte) [][]byte { return f[2:] }, problem.Invalid, "delimiter"},
		{"cut short", func(f [][]byte) [][]byte { return f[:5] }, problem.Invalid, "frames"},
		{"changed content", func(f [][]byte) [][]byte { f[6] = []byte(`{"name":"stderr"}`); return f }, problem.Denied, "signature"},
		{"changed header", func(f [][]byte) [][]byte { f[3] = []byte(header); return f }, problem.Denied, "signature"},
		{"empty signature", func(f [][]byte) [][]byte { f[2] = nil; return f }, problem.Denied, "signature"},
		{"upper case signature", func(f [][]byte) [][]byte { f[2] = bytes.ToUpper(f[2]); return f }, problem.Denied, "signature"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			frames, err := NewCodec([]byte("k")).Encode(sample())
			if err != nil {
				t.Fatal(err)
			}
			_, err = NewCodec([]byte("k")).Decode(Shell, tt.change(frames), time.Time{})
			if problem.KindOf(err) != tt.kind || err == nil || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v (%v), want %v with %q", err, problem.KindOf(err), tt.kind, tt.text)
			}
		})
	}
}

func TestReplayIsRefused(t *testing.T) {
	t.Parallel()
	c := NewCodec([]byte("k"))
	frames, err := NewCodec([]byte("k")).Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decode(IOPub, frames, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Decode(Shell, frames, time.Time{}); !problem.Is(err, problem.Denied) {
		t.Errorf("the same message again: %v, want it denied", err)
	}
}

func TestReplayWindowIsBounded(t *testing.T) {
	t.Parallel()
	c := NewCodec([]byte("k"))
	var sum [32]byte
	for i := range 3 * replayWindow {
		sum[0], sum[1], sum[2] = byte(i), byte(i>>8), byte(i>>16)
		if !c.remember(sum) {
			t.Fatalf("signature %d is taken for a repeated one", i)
		}
	}
	if len(c.seen) != replayWindow || len(c.ring) != replayWindow {
		t.Errorf("%d signatures in %d places, want %d", len(c.seen), len(c.ring), replayWindow)
	}
	if c.remember(sum) {
		t.Error("the last signature is forgotten")
	}
}

func TestParseParts(t *testing.T) {
	t.Parallel()
	const header = `{"msg_id":"a","msg_type":"b"}`
	for _, tt := range []struct {
		name  string
		parts []string
		text  string // of the error; empty for none
	}{
		{"least", []string{header, "{}", "{}", "{}"}, ""},
		{"absent parent as R and Julia write it", []string{header, "null", "[]", "{}"}, ""},
		{"null as R repeats it", []string{header, `{"msg_id":"a","msg_type":"b","subshell_id":{}}`, "{}", "{}"}, ""},
		{"subshell of a wrong type", []string{header, `{"msg_id":"a","msg_type":"b","subshell_id":{"a":1}}`, "{}", "{}"}, "parent header"},
		{"unknown fields", []string{`{"msg_id":"a","msg_type":"b","x":[1]}`, header, `{"y":1}`, `{"z":null}`}, ""},
		{"three parts", []string{header, "{}", "{}"}, "3 parts"},
		{"header no object", []string{`"x"`, "{}", "{}", "{}"}, "header is not a JSON object"},
		{"header without id", []string{`{"msg_type":"b"}`, "{}", "{}", "{}"}, "without msg_id"},
		{"header field of a wrong type", []string{`{"msg_id":1,"msg_type":"b"}`, "{}", "{}", "{}"}, "header"},
		{"parent no object", []string{header, "7", "{}", "{}"}, "parent header"},
		{"metadata no object", []string{header, "{}", "[1]", "{}"}, "metadata is not a JSON object"},
		{"content cut", []string{header, "{}", "{}", `{"a":`}, "content is not a JSON object"},
		{"content deep", []string{header, "{}", "{}", strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)}, "content"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			parts := make([][]byte, len(tt.parts))
			for i, p := range tt.parts {
				parts[i] = []byte(p)
			}
			_, err := ParseParts(Shell, parts)
			if tt.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

func TestSetParentKeepsUnknownFields(t *testing.T) {
	t.Parallel()
	raw := `{"msg_id":"a","msg_type":"input_request","subshell_id":null,"later":true}`
	asked, err := ParseParts(Stdin, [][]byte{[]byte(raw), []byte("{}"), []byte("{}"), []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	answer := &Message{Header: Header{MsgID: "b", MsgType: "input_reply"}}
	answer.SetParent(asked)
	parts, err := answer.Parts()
	if err != nil {
		t.Fatal(err)
	}
	if string(parts[1]) != raw {
		t.Errorf("parent %s, want %s", parts[1], raw)
	}
}

// FuzzDecode: no frames make the codec panic, and what is accepted comes out
// the same after encoding and decoding.
func FuzzDecode(f *testing.F) {
	frames, err := NewCodec(nil).Encode(sample())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(bytes.Join(frames, []byte{0x1f}))
	f.Add([]byte("<IDS|MSG>\x1f\x1f{\"msg_id\":\"a\",\"msg_type\":\"b\"}\x1fnull\x1f[]\x1f{}"))
	f.Add([]byte("a\x1f<IDS|MSG>\x1f\x1f{}\x1f{}\x1f{}\x1f{}\x1f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c := NewCodec(nil)
		m, err := c.Decode(IOPub, bytes.Split(data, []byte{0x1f}), time.Time{})
		if err != nil {
			return
		}
		again, err := c.Encode(m)
		if err != nil {
			t.Fatalf("accepted but not encoded: %v", err)
		}
		n, err := c.Decode(IOPub, again, time.Time{})
		if err != nil {
			t.Fatalf("encoded but not accepted: %v", err)
		}
		if n.Header != m.Header || n.ParentHeader != m.ParentHeader || !bytes.Equal(n.Content, m.Content) ||
			!bytes.Equal(n.Metadata, m.Metadata) || len(n.Buffers) != len(m.Buffers) {
			t.Fatalf("%+v became %+v", m, n)
		}
	})
}
