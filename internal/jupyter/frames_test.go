package jupyter

import (
	"bytes"
	"testing"

	"github.com/coder/websocket"

	"quire/internal/kernel/wire"
)

func framings() map[string]framing {
	return map[string]framing{"default": framesDefault{}, "v1": framesV1{}}
}

func sample(t testing.TB, buffers ...[]byte) *wire.Message {
	t.Helper()
	m, err := wire.ParseParts(wire.Shell, append([][]byte{
		[]byte(`{"msg_id":"1","msg_type":"comm_msg","odd":[1]}`), []byte(`{"msg_id":"0","msg_type":"x"}`), []byte(`{"a":1}`), []byte(`{"b":"\u00e9"}`),
	}, buffers...))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestFramesGoThereAndBack(t *testing.T) {
	t.Parallel()
	for name, f := range framings() {
		for _, buffers := range [][][]byte{nil, {[]byte("one"), {}, {0, 255}}} {
			want := sample(t, buffers...)
			kind, frame, err := f.encode(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.decode(kind, frame)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			a, errA := want.Parts()
			b, errB := got.Parts()
			if errA != nil || errB != nil || len(a) != len(b) {
				t.Fatalf("%s: %d parts became %d (%v, %v)", name, len(a), len(b), errA, errB)
			}
			for i := range a {
				if !bytes.Equal(a[i], b[i]) {
					t.Errorf("%s: part %d: %q became %q", name, i, a[i], b[i])
				}
			}
		}
	}
}

func TestWrongBytesDoNotReachABrowser(t *testing.T) {
	t.Parallel()
	m, err := wire.ParseParts(wire.IOPub, [][]byte{[]byte(`{"msg_id":"1","msg_type":"stream"}`), []byte("{}"), []byte("{}"), []byte("{\"text\":\"a\xffb\"}")})
	if err != nil {
		t.Fatal(err)
	}
	kind, frame, err := framesDefault{}.encode(m)
	if err != nil || kind != websocket.MessageText || !bytes.Contains(frame, []byte("a\uFFFDb")) {
		t.Errorf("%v %q %v", kind, frame, err)
	}
}

func FuzzFrames(f *testing.F) {
	for _, form := range framings() {
		_, frame, err := form.encode(sample(f, []byte("b")))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame, true)
		f.Add(frame[:len(frame)/2], true)
	}
	f.Add([]byte(`{"channel":"iopub","header":{}}`), false)
	f.Fuzz(func(t *testing.T, frame []byte, binary bool) {
		kind := websocket.MessageText
		if binary {
			kind = websocket.MessageBinary
		}
		for name, form := range framings() {
			m, err := form.decode(kind, bytes.Clone(frame))
			if err != nil {
				continue
			}
			kind, again, err := form.encode(m)
			if err != nil {
				t.Fatalf("%s: what was read cannot be written: %v", name, err)
			}
			if _, err := form.decode(kind, again); err != nil {
				t.Fatalf("%s: what was written cannot be read: %v", name, err)
			}
		}
	})
}

func TestWholeCharacters(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   string
		want int
	}{{"", 0}, {"abc", 3}, {"a\xc3", 1}, {"\xc3\xa9", 2}, {"\xf0\x9f\x98", 0}, {"x\xf0\x9f\x98\x80", 5}, {"\xff\xff", 2}, {"\x80\x80\x80\x80", 4}} {
		if got := wholeCharacters([]byte(tt.in)); got != tt.want {
			t.Errorf("%q: %d bytes are whole, want %d", tt.in, got, tt.want)
		}
	}
}
