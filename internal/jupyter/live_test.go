package jupyter

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
)

func TestMain(m *testing.M) {
	kerneltest.Main()
	os.Exit(m.Run())
}

// startLive starts a fake kernel and a server of its channels alone; it returns
// the address of the channels.
func startLive(t *testing.T) (*live, string) {
	t.Helper()
	k, err := kernel.Start(t.Context(), kernel.Config{Spec: kerneltest.Spec(t, kerneltest.Options{}), RuntimeDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	l := newLive(k.ID(), k.Spec(), "", t.TempDir(), log)
	l.launch(t.Context(), func(context.Context) (process, error) { return ownProcess{k}, nil })
	<-l.started
	return l, channelsOf(t, l)
}

// channelsOf serves a kernel's channels, and ends the kernel with the test.
func channelsOf(t *testing.T, l *live) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := accept(w, r, protocolV1)
		if err != nil || conn == nil {
			return
		}
		c := l.join(r.URL.Query().Get("session"))
		c.serve(r.Context(), conn, framingFor(conn.Subprotocol()), r.URL.Query().Get("seen"), func(ctx context.Context, m *wire.Message) { l.send(ctx, c, m) })
	}))
	t.Cleanup(func() {
		if err := l.close(context.Background()); err != nil {
			t.Error(err)
		}
		s.Close()
	})
	return s.URL
}

// A caller is a client of the channels in the default framing.
type caller struct {
	t    *testing.T
	conn *websocket.Conn
}

func dial(t *testing.T, url, session string) *caller {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), url+"/?session="+session, nil)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(-1)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return &caller{t, conn}
}

// A heard is what a client sees of a message.
type heard struct {
	Channel string          `json:"channel"`
	Type    string          `json:"msg_type"`
	Header  wire.Header     `json:"header"`
	Parent  wire.Header     `json:"parent_header"`
	Content json.RawMessage `json:"content"`
}

func (h heard) text() string {
	var c struct{ Text string }
	_ = json.Unmarshal(h.Content, &c)
	return c.Text
}

func (c *caller) execute(id, code string) {
	c.t.Helper()
	frame, err := json.Marshal(map[string]any{
		"channel": "shell", "parent_header": map[string]any{}, "metadata": map[string]any{}, "buffers": []any{},
		"header":  map[string]string{"msg_id": id, "msg_type": "execute_request", "session": "s", "username": "", "version": "5.4", "date": ""},
		"content": map[string]any{"code": code, "silent": false, "store_history": true, "allow_stdin": true},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	if err := c.conn.Write(c.t.Context(), websocket.MessageText, frame); err != nil {
		c.t.Fatal(err)
	}
}

// next returns the next message, within 20 s.
func (c *caller) next() heard {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 60*time.Second)
	defer cancel()
	_, frame, err := c.conn.Read(ctx)
	if err != nil {
		c.t.Fatal(err)
	}
	var h heard
	if err := json.Unmarshal(frame, &h); err != nil {
		c.t.Fatal(err)
	}
	return h
}

// until reads up to the first message of a type with a parent ("" is any).
func (c *caller) until(kind, parent string) (heard, []heard) {
	c.t.Helper()
	var before []heard
	for {
		h := c.next()
		if h.Type == kind && (parent == "" || h.Parent.MsgID == parent) {
			return h, before
		}
		before = append(before, h)
	}
}

// await polls for what nothing tells.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited 60 s for " + what)
		}
	}
}

func TestClientThatReadsNothingHoldsNobody(t *testing.T) {
	t.Parallel()
	_, url := startLive(t)
	dial(t, url, "deaf") // never reads
	c := dial(t, url, "b")
	const count, size = 20000, 2000
	c.execute("m", fmt.Sprintf("flood %d %d", count, size))
	_, before := c.until("execute_reply", "m")
	for {
		if n := streams(before); n == count {
			return
		}
		before = append(before, c.next())
	}
}

func streams(all []heard) int {
	n := 0
	for _, h := range all {
		if h.Type == "stream" {
			n++
		}
	}
	return n
}

func TestWhoComesBackGetsWhatWasMissed(t *testing.T) {
	t.Parallel()
	l, url := startLive(t)
	c := dial(t, url, "a")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	c.execute("m", "print before\nawait "+pipe+"\nflood 9000 1000\nprint after")
	got := map[string]int{}
	for got["before\n"] == 0 {
		got[c.next().text()]++
	}
	// A client that reads answers pings: CloseRead does nothing else.
	c.conn.CloseRead(t.Context())
	cl := l.join("a")
	await(t, "the confirmation", func() bool {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		return len(cl.sent) == 0
	})
	_ = c.conn.CloseNow()
	await(t, "the client to be gone", func() bool { return l.model().Connections == 0 })
	if err := os.WriteFile(pipe, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the kernel to be idle without clients", func() bool {
		m := l.model()
		return m.Connections == 0 && m.State == stateIdle
	})
	c = dial(t, url, "a")
	_, before := c.until("execute_reply", "m")
	for streams(before) < 9001 {
		before = append(before, c.next())
	}
	last := ""
	for _, h := range before {
		if h.Type == "stream" {
			last = h.text()
			if last == "before\n" {
				t.Error("what was confirmed came again")
			}
		}
	}
	if last != "after\n" {
		t.Errorf("the last output is %.40q", last)
	}
}

// TestWhoSaysWhatWasSeenGetsNothingTwice cuts a client off in the middle of a
// stream, before it has confirmed anything, and lets it say what it saw.
func TestWhoSaysWhatWasSeenGetsNothingTwice(t *testing.T) {
	t.Parallel()
	_, url := startLive(t)
	c := dial(t, url, "a")
	var want, got []string
	code := ""
	for i := range 60 {
		code += fmt.Sprintf("print %d\nsleep 5ms\n", i)
		want = append(want, fmt.Sprintf("%d\n", i))
	}
	c.execute("m", code)
	twice := map[string]bool{}
	for ended := false; !ended; {
		h := c.next()
		if twice[h.Header.MsgID] {
			t.Errorf("%s %q came twice", h.Type, h.text())
		}
		twice[h.Header.MsgID] = true
		if h.Type == "stream" {
			got = append(got, h.text())
			if len(got)%10 == 0 {
				_ = c.conn.CloseNow()
				c = dial(t, url, "a&seen="+h.Header.MsgID)
			}
		}
		ended = h.Type == "execute_reply"
	}
	for len(got) < len(want) { // the reply may be faster than the last of them
		got = append(got, c.next().text())
	}
	if strings.Join(got, "") != strings.Join(want, "") {
		t.Errorf("came %q", got)
	}
}

// TestStartingKernelHearsWhatWasSent connects to a kernel that has no process
// yet: it says that it is starting, and what is sent meanwhile runs, in order.
func TestStartingKernelHearsWhatWasSent(t *testing.T) {
	t.Parallel()
	k, err := kernel.Start(t.Context(), kernel.Config{Spec: kerneltest.Spec(t, kerneltest.Options{}), RuntimeDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	l := newLive(k.ID(), k.Spec(), "", t.TempDir(), slog.New(slog.DiscardHandler))
	ready := make(chan struct{})
	l.launch(t.Context(), func(context.Context) (process, error) { <-ready; return ownProcess{k}, nil })
	c := dial(t, channelsOf(t, l), "a")
	c.execute("one", "print one")
	c.execute("two", "print two")
	await(t, "both to wait", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.early) == 2
	})
	if m := l.model(); m.State != stateStarting {
		t.Errorf("the kernel is %s", m.State)
	}
	if _, err := l.process(); !problem.Is(err, problem.Conflict) {
		t.Errorf("interrupted, it says %v", err)
	}
	close(ready)
	_, before := c.until("execute_reply", "two")
	printed := ""
	for _, h := range before {
		printed += h.text()
	}
	for len(printed) < len("one\ntwo\n") { // the reply may be faster than the last of them
		printed += c.next().text()
	}
	if printed != "one\ntwo\n" {
		t.Errorf("printed was %q", printed)
	}
}

func TestWhatIsNotConfirmedComesAgain(t *testing.T) {
	t.Parallel()
	l, url := startLive(t)
	c := dial(t, url, "a")
	c.execute("m", "print once")
	// Nothing is read, so that no ping is answered.
	cl := l.join("a")
	await(t, "the output to be sent", func() bool {
		cl.mu.Lock()
		defer cl.mu.Unlock()
		return cl.written >= 5 // busy, input, output, reply, idle
	})
	_ = c.conn.CloseNow()
	c = dial(t, url, "a")
	kinds := map[string]int{}
	for kinds["execute_reply"] == 0 || kinds["stream"] == 0 || kinds["status"] < 2 {
		kinds[c.next().Type]++
	}
	if kinds["status"] != 2 || kinds["execute_input"] != 1 || kinds["stream"] != 1 || kinds["execute_reply"] != 1 {
		t.Errorf("what came on the second connection: %v", kinds)
	}
}

func TestDeathIsTold(t *testing.T) {
	t.Parallel()
	l, url := startLive(t)
	c, other := dial(t, url, "a"), dial(t, url, "b")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	c.execute("m", "await "+pipe+"\nprint last\nexit 3")
	c.execute("n", "print never")
	await(t, "both to be asked for", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.requests) == 2
	})
	if err := os.WriteFile(pipe, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	failure, before := c.until("error", "m")
	if streams(before) != 1 {
		t.Errorf("what the kernel said before its end is not there: %v", before)
	}
	if !strings.Contains(string(failure.Content), "the kernel exited with code 3") {
		t.Errorf("the error is %s", failure.Content)
	}
	reply, _ := c.until("execute_reply", "m")
	if !strings.Contains(string(reply.Content), "KernelDied") {
		t.Errorf("the reply is %s", reply.Content)
	}
	if reply, _ = c.until("execute_reply", "n"); !strings.Contains(string(reply.Content), `"aborted"`) {
		t.Errorf("the reply to what waited is %s", reply.Content)
	}
	for {
		status, _ := other.until("status", "")
		if strings.Contains(string(status.Content), stateDead) {
			if !strings.Contains(string(status.Content), "exited with code 3") {
				t.Errorf("the status is %s", status.Content)
			}
			break
		}
	}
	if m := l.model(); m.State != stateDead || !strings.Contains(m.Reason, "exited with code 3") {
		t.Errorf("the model is %+v", m)
	}
	c.execute("o", "print late")
	if reply, _ = c.until("execute_reply", "o"); !strings.Contains(string(reply.Content), "KernelDied") {
		t.Errorf("the reply of a dead kernel is %s", reply.Content)
	}
	if err := l.again(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Who did not ask for the restart is told that the kernel is another one.
	for said := ""; !strings.Contains(said, stateStarting); {
		status, _ := other.until("status", "")
		said = string(status.Content)
	}
	c.execute("p", "print alive")
	if h, _ := c.until("stream", "p"); h.text() != "alive\n" {
		t.Errorf("after the restart: %s", h.Content)
	}
	if m := l.model(); m.Reason != "" || m.State == stateDead {
		t.Errorf("the model after the restart is %+v", m)
	}
}

func TestRepliesGoToWhoAsked(t *testing.T) {
	t.Parallel()
	_, url := startLive(t)
	a, b := dial(t, url, "a"), dial(t, url, "b")
	a.execute("m", "input who?")
	if h, _ := a.until("input_request", "m"); h.Channel != "stdin" {
		t.Errorf("the question came on %s", h.Channel)
	}
	answer := `{"channel":"stdin","header":{"msg_id":"i","msg_type":"input_reply","session":"s","version":"5.4"},"parent_header":{},"metadata":{},"content":{"value":"ann"}}`
	if err := a.conn.Write(t.Context(), websocket.MessageText, []byte(answer)); err != nil {
		t.Fatal(err)
	}
	a.until("execute_reply", "m")
	b.execute("n", "print b")
	_, before := b.until("execute_reply", "n")
	for _, h := range before {
		if h.Channel != "iopub" {
			t.Errorf("%s of another client came on %s", h.Type, h.Channel)
		}
	}
}

// A slowRestart is a process whose restart waits before it begins.
type slowRestart struct {
	process
	begun, goOn chan struct{}
}

func (p *slowRestart) Restart(ctx context.Context) error {
	close(p.begun)
	<-p.goOn
	return p.process.Restart(ctx)
}

// TestWhatIsSentDuringARestartRuns sends a cell while the kernel is started anew:
// the old process does not hear it any more, and the new one runs it.
func TestWhatIsSentDuringARestartRuns(t *testing.T) {
	t.Parallel()
	k, err := kernel.Start(t.Context(), kernel.Config{Spec: kerneltest.Spec(t, kerneltest.Options{}), RuntimeDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	slow := &slowRestart{ownProcess{k}, make(chan struct{}), make(chan struct{})}
	l := newLive(k.ID(), k.Spec(), "", t.TempDir(), slog.New(slog.DiscardHandler))
	l.launch(t.Context(), func(context.Context) (process, error) { return slow, nil })
	<-l.started
	c := dial(t, channelsOf(t, l), "a")
	c.execute("before", "sleep 60s")
	await(t, "the cell to be asked for", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.requests) == 1
	})
	restarted := make(chan error, 1)
	go func() { restarted <- l.again(context.WithoutCancel(t.Context())) }()
	if reply, _ := c.until("execute_reply", "before"); !strings.Contains(string(reply.Content), `"aborted"`) {
		t.Errorf("the reply to what ran is %s", reply.Content)
	}
	c.execute("during", "print during")
	await(t, "the second to be asked for", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.requests) == 1
	})
	<-slow.begun
	close(slow.goOn)
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	_, before := c.until("execute_reply", "during")
	for streams(before) == 0 { // the reply may be faster
		before = append(before, c.next())
	}
}

// TestOnlyTheLastConnectionOfADocumentEndsIt: the one before may leave a moment
// after the next has come.
func TestOnlyTheLastConnectionOfADocumentEndsIt(t *testing.T) {
	t.Parallel()
	l, _ := startLive(t)
	first, err := l.document("d")
	if err != nil {
		t.Fatal(err)
	}
	second, err := l.document("d")
	if err != nil {
		t.Fatal(err)
	}
	first.Leave()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l.mu.Lock()
	l.status(stateBusy, "")
	l.mu.Unlock()
	for {
		m, err := second.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if m.Type() == "status" && strings.Contains(string(m.Content), stateBusy) {
			break
		}
	}
	second.Leave()
	if _, err := second.Next(ctx); err == nil {
		t.Error("it goes on after the last one has left")
	}
}
