package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/problem"
)

// pair returns two connected sockets.
func pair(t *testing.T, a, b SocketType, opt Options) (client, server *Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error, 1)
	go func() {
		nc, err := l.Accept()
		if err == nil {
			server, err = NewConn(nc, b, Options{AsServer: true})
		}
		done <- err
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if client, err = NewConn(nc, a, opt); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close(); _ = server.Close() })
	return client, server
}

func TestFramesTravel(t *testing.T) {
	t.Parallel()
	client, server := pair(t, Dealer, Router, Options{Identity: []byte("me")})
	if got := string(server.PeerIdentity()); got != "me" {
		t.Errorf("identity %q", got)
	}
	for _, frames := range [][][]byte{
		{{}},
		{[]byte("a"), {}, []byte("b")},
		{bytes.Repeat([]byte("x"), 255), bytes.Repeat([]byte("y"), 256)},
		{bytes.Repeat([]byte("z"), 3<<20+7), []byte("end")},
		{make([]byte, readBuffer)},
	} {
		sent := make(chan error, 1)
		go func() { sent <- client.WriteFrames(frames) }()
		got, err := server.ReadFrames()
		if err != nil {
			t.Fatal(err)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if len(got) != len(frames) {
			t.Fatalf("%d frames, want %d", len(got), len(frames))
		}
		for i := range got {
			if !bytes.Equal(got[i], frames[i]) {
				t.Errorf("frame %d of %d bytes differs", i, len(frames[i]))
			}
		}
	}
}

func TestWritersDoNotMix(t *testing.T) {
	t.Parallel()
	client, server := pair(t, Dealer, Router, Options{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			part := bytes.Repeat([]byte{byte('a' + i)}, 20000*(i%2)+10)
			for range 50 {
				if err := client.WriteFrames([][]byte{part, part, part, part}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 400 {
		frames, err := server.ReadFrames()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			if len(frames) != 4 || !bytes.Equal(f, frames[0]) {
				t.Fatal("messages are mixed")
			}
		}
	}
	wg.Wait()
}

func TestSubscribe(t *testing.T) {
	t.Parallel()
	client, server := pair(t, Sub, Pub, Options{})
	if err := client.Subscribe([]byte("x")); err != nil {
		t.Fatal(err)
	}
	frames, err := server.ReadFrames()
	if err != nil || len(frames) != 1 || string(frames[0]) != "\x01x" {
		t.Errorf("subscription %q, %v", frames, err)
	}
}

// script is a net.Conn that reads given bytes and swallows what is written.
type script struct {
	net.Conn
	r *bytes.Reader
}

func (s script) Read(b []byte) (int, error)  { return s.r.Read(b) }
func (s script) Write(b []byte) (int, error) { return len(b), nil }
func (s script) Close() error                { return nil }

func greeting(socket string) []byte {
	b := make([]byte, greetingLen)
	b[0], b[9], b[10] = 0xff, 0x7f, 3
	copy(b[12:], "NULL")
	return appendReady(b, SocketType(socket), nil)
}

func TestHandshakeRefuses(t *testing.T) {
	t.Parallel()
	change := func(f func(b []byte)) []byte {
		b := greeting("ROUTER")
		f(b)
		return b
	}
	for _, tt := range []struct {
		name string
		in   []byte
		text string
	}{
		{"nothing", nil, "EOF"},
		{"HTTP", []byte("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"), "ZMTP 3"},
		{"old ZMTP", change(func(b []byte) { b[10] = 1 }), "ZMTP 3"},
		{"other mechanism", change(func(b []byte) { copy(b[12:], "CURVE") }), `"CURVE"`},
		{"wrong socket", greeting("PUB"), `"PUB"`},
		{"cut", greeting("ROUTER")[:70], "EOF"},
		{"no command", append(greeting("ROUTER")[:64], 0, 1, 'x'), "READY"},
		{"command too long", append(greeting("ROUTER")[:64], 6, 0, 0, 1, 0, 0, 0, 0, 0), "READY"},
		{"refused", append(greeting("ROUTER")[:64], append([]byte{4, 9}, "\x05ERROR\x02no"...)...), "refused"},
		{"property cut", append(greeting("ROUTER")[:64], append([]byte{4, 11}, "\x05READY\x01a\xff\xff\xff"...)...), "cut short"},
		{"property too long", append(greeting("ROUTER")[:64], append([]byte{4, 12}, "\x05READY\x01a\xff\xff\xff\xff"...)...), "cut short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := NewConn(script{r: bytes.NewReader(tt.in)}, Dealer, Options{})
			if !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

// read makes a connection that is past its handshake and reads data.
func read(data []byte, limit int64) ([][]byte, error) {
	c, err := NewConn(script{r: bytes.NewReader(append(greeting("ROUTER"), data...))}, Dealer, Options{MaxMessage: limit})
	if err != nil {
		return nil, err
	}
	return c.ReadFrames()
}

func TestReadRefuses(t *testing.T) {
	t.Parallel()
	long := func(n uint64) []byte { return binary.BigEndian.AppendUint64([]byte{flagLong}, n) }
	for _, tt := range []struct {
		name string
		in   []byte
		want func(error) bool
	}{
		{"end", nil, func(err error) bool { return errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) }},
		{"end inside", []byte{1, 1, 'x'}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"end in a body", []byte{0, 9, 'x'}, func(err error) bool { return errors.Is(err, io.ErrUnexpectedEOF) }},
		{"size of 2^63", long(1 << 63), func(err error) bool { return problem.Is(err, problem.TooLarge) }},
		{"largest size", long(1<<64 - 1), func(err error) bool { return problem.Is(err, problem.TooLarge) }},
		{"one over", long(1001), func(err error) bool { return problem.Is(err, problem.TooLarge) }},
		{"sum over", append(append([]byte{1, 200}, make([]byte, 200)...), long(801)...), func(err error) bool { return problem.Is(err, problem.TooLarge) }},
		{"unknown flags", []byte{0x80, 0}, func(err error) bool { return problem.Is(err, problem.Invalid) }},
		{"huge command", append([]byte{6}, 0, 0, 0, 0, 1, 0, 0, 0), func(err error) bool { return problem.Is(err, problem.TooLarge) }},
		{"too many frames", bytes.Repeat([]byte{1, 0}, maxFrames+1), func(err error) bool { return problem.Is(err, problem.TooLarge) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, err := read(tt.in, 1000); err == nil || !tt.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestAnnouncedSizeCostsNothing: a peer that announces a large frame and sends
// nothing must not take the memory. It runs alone: what all allocate is counted.
func TestAnnouncedSizeCostsNothing(t *testing.T) {
	data := binary.BigEndian.AppendUint64([]byte{flagLong}, 400<<20)
	allocated := testing.Benchmark(func(b *testing.B) {
		for range b.N {
			if _, err := read(data, DefaultMaxMessage); !errors.Is(err, io.ErrUnexpectedEOF) {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 8<<20 {
		t.Errorf("%d bytes were allocated for a frame that never came", allocated)
	}
}

// TestWhatHasComeIsRead: a deadline that has passed cuts off nothing that came
// before it, and who holds the connection open without a word is not waited for.
func TestWhatHasComeIsRead(t *testing.T) {
	t.Parallel()
	client, server := pair(t, Dealer, Router, Options{})
	const count = 20
	for range count {
		if err := server.WriteFrames([][]byte{make([]byte, 2000)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.NetConn().SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	for i := range count {
		if frames, err := client.ReadFrames(); err != nil || len(frames[0]) != 2000 {
			t.Fatalf("message %d: %v", i, err)
		}
	}
	if _, err := client.ReadFrames(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("then comes %v", err)
	}
}

func TestPingIsAnswered(t *testing.T) {
	t.Parallel()
	client, server := pair(t, Dealer, Router, Options{})
	if _, err := server.nc.Write(append([]byte{flagCommand, 10}, "\x04PING\x00\x00abc"...)); err != nil {
		t.Fatal(err)
	}
	if err := server.WriteFrames([][]byte{[]byte("after")}); err != nil {
		t.Fatal(err)
	}
	frames, err := client.ReadFrames()
	if err != nil || string(frames[0]) != "after" {
		t.Fatalf("%q, %v", frames, err)
	}
	_ = server.nc.SetReadDeadline(time.Now().Add(time.Minute))
	want := append([]byte{flagCommand, 8}, "\x04PONGabc"...)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(server.r, got); err != nil || !bytes.Equal(got, want) {
		t.Errorf("answer %q, %v, want %q", got, err, want)
	}
}

// FuzzRead: no bytes of a peer make the reader panic, or return more than the
// limit.
func FuzzRead(f *testing.F) {
	f.Add([]byte{0, 1, 'x'})
	f.Add(append([]byte{flagCommand, 10}, "\x04PING\x00\x00abc\x01\x00\x00\x01y"...))
	f.Add(greeting("ROUTER"))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames, err := read(data, 1000)
		total := 0
		for _, b := range frames {
			total += len(b)
		}
		if err == nil && (len(frames) == 0 || total > 1000) {
			t.Fatalf("%d frames of %d bytes", len(frames), total)
		}
		_, _ = NewConn(script{r: bytes.NewReader(data)}, Sub, Options{MaxMessage: 1000})
	})
}
