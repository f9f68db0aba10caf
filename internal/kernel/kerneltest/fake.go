package kerneltest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"quire/internal/kernel"
	"quire/internal/kernel/serve"
	"quire/internal/kernel/wire"
)

// optionsVariable carries the Options to the fake's process.
const optionsVariable = "QUIRE_KERNELTEST_FAKE"

// Options makes a fake kernel differ from a healthy one. The zero value is
// healthy.
type Options struct {
	Language        string        `json:"language"`        // language_info.name; empty is "fake"
	Mute            bool          `json:"mute"`            // opens its sockets and answers nothing
	Deaf            bool          `json:"deaf"`            // opens no socket
	AnswerAfter     time.Duration `json:"answerAfter"`     // answers kernel_info so late
	LoseIdles       int           `json:"loseIdles"`       // leaves out the first so many idles of kernel_info
	DieAtStart      bool          `json:"dieAtStart"`      // writes Words and exits with ExitCode
	DieUnlessExists string        `json:"dieUnlessExists"` // makes this file, and dies as DieAtStart if it was not there
	Words           string        `json:"words"`
	ExitCode        int           `json:"exitCode"`
	IgnoreShutdown  bool          `json:"ignoreShutdown"`
	IgnoreTerm      bool          `json:"ignoreTerm"`
	ByMessage       bool          `json:"byMessage"` // interrupt_mode "message"
}

// Spec returns a kernel's spec whose command is the fake. TestMain must have
// called Main.
func Spec(t testing.TB, opt Options) kernel.Spec {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(opt)
	if err != nil {
		t.Fatal(err)
	}
	spec := kernel.Spec{
		Name: "fake", Argv: []string{exe, "{connection_file}"}, DisplayName: "Fake", Language: opt.Language,
		InterruptMode: "signal", Env: map[string]string{optionsVariable: string(data)},
	}
	if spec.Language == "" {
		spec.Language = "fake"
	}
	if opt.ByMessage {
		spec.InterruptMode = "message"
	}
	return spec
}

// Main runs the fake and never returns when this process was started as one;
// otherwise it does nothing.
func Main() {
	text := os.Getenv(optionsVariable)
	if text == "" {
		return
	}
	_ = os.Unsetenv(optionsVariable)
	if err := serveFake(text, os.Args[len(os.Args)-1]); err != nil {
		fmt.Fprintln(os.Stderr, "fake kernel:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// fake is a running fake kernel.
type fake struct {
	opt   Options
	codec *wire.Codec
	id    string

	iopub  *serve.Publisher
	shell  *serve.Router
	ctrl   *serve.Router
	stdin  *serve.Router
	cut    chan struct{}      // an interrupt, capacity 1
	answer chan *wire.Message // input replies
	done   chan struct{}

	mu     sync.Mutex
	serial int
	infos  int // kernel_info requests answered
	count  int
}

func serveFake(options, file string) error {
	f := &fake{
		id: fmt.Sprintf("fake%d", os.Getpid()), cut: make(chan struct{}, 1),
		answer: make(chan *wire.Message, 16), done: make(chan struct{}),
	}
	if err := json.Unmarshal([]byte(options), &f.opt); err != nil {
		return err
	}
	f.dieEarly()
	if f.opt.Deaf {
		f.signals() // a program that can get none and waits for nothing is ended by Go
		select {}
	}
	conn, err := serve.ReadConnection(file)
	if err != nil {
		return err
	}
	f.codec = wire.NewCodec([]byte(conn.Key))
	f.signals()
	return f.run(conn)
}

// dieEarly is the end of a fake that is to die before it is ready.
func (f *fake) dieEarly() {
	die := f.opt.DieAtStart
	if file := f.opt.DieUnlessExists; file != "" {
		w, err := os.OpenFile(file, os.O_CREATE|os.O_EXCL, 0o600)
		if die = err == nil; die {
			_ = w.Close()
		}
	}
	if die {
		fmt.Fprintln(os.Stderr, f.opt.Words)
		os.Exit(f.opt.ExitCode)
	}
}

func (f *fake) signals() {
	if f.opt.IgnoreTerm {
		signal.Ignore(syscall.SIGTERM)
	}
	ch := make(chan os.Signal, 4)
	if f.opt.ByMessage {
		signal.Ignore(syscall.SIGINT)
		return
	}
	signal.Notify(ch, syscall.SIGINT)
	go func() {
		for range ch {
			f.interrupt()
		}
	}()
}

func (f *fake) interrupt() {
	select {
	case f.cut <- struct{}{}:
	default:
	}
}

func (f *fake) run(conn serve.Connection) error {
	var listeners [4]net.Listener
	for i, port := range []int{conn.IOPubPort, conn.StdinPort, conn.ControlPort, conn.ShellPort} {
		l, err := conn.Listen(port)
		if err != nil {
			return err
		}
		defer l.Close()
		listeners[i] = l
	}
	f.iopub = serve.NewPublisher(listeners[0])
	f.stdin = serve.NewRouter(listeners[1], f.onStdin)
	f.ctrl = serve.NewRouter(listeners[2], f.onControl)
	requests := make(chan *wire.Message, 1024)
	f.shell = serve.NewRouter(listeners[3], func(r *serve.Router, frames [][]byte) {
		if m, err := f.codec.Decode(wire.Shell, frames, time.Now()); err == nil {
			requests <- m
		}
	})
	f.publish(nil, "status", map[string]string{"execution_state": "starting"})
	for {
		select {
		case m := <-requests:
			if !f.opt.Mute {
				f.request(m)
			}
		case <-f.done:
			return nil
		}
	}
}

func (f *fake) onStdin(_ *serve.Router, frames [][]byte) {
	if m, err := f.codec.Decode(wire.Stdin, frames, time.Now()); err == nil && m.Type() == "input_reply" {
		f.answer <- m
	}
}

func (f *fake) onControl(r *serve.Router, frames [][]byte) {
	m, err := f.codec.Decode(wire.Control, frames, time.Now())
	if err != nil || f.opt.Mute {
		return
	}
	switch m.Type() {
	case "shutdown_request":
		if f.opt.IgnoreShutdown {
			return
		}
		f.reply(r, m, "shutdown_reply", json.RawMessage(`{"status":"ok","restart":false}`))
		close(f.done)
	case "interrupt_request":
		f.interrupt()
		f.reply(r, m, "interrupt_reply", json.RawMessage(`{"status":"ok"}`))
	case "kernel_info_request":
		f.reply(r, m, "kernel_info_reply", f.info())
	default:
		f.reply(r, m, "error_reply", json.RawMessage(`{"status":"error"}`))
	}
}

func (f *fake) info() any {
	language := f.opt.Language
	if language == "" {
		language = "fake"
	}
	return map[string]any{
		"status": "ok", "protocol_version": "5.4", "implementation": "fake", "implementation_version": "1.0",
		"language_info": map[string]any{
			"name": language, "version": "1.0", "mimetype": "text/x-" + language, "file_extension": ".fake",
		},
		"banner": "A fake kernel", "help_links": []any{}, "debugger": false,
	}
}

// request answers one message of the shell channel.
func (f *fake) request(m *wire.Message) {
	if m.Type() == "execute_request" {
		f.execute(m)
		return
	}
	f.status(m, "busy")
	skipIdle := false
	switch m.Type() {
	case "kernel_info_request":
		time.Sleep(f.opt.AnswerAfter)
		f.infos++
		skipIdle = f.infos <= f.opt.LoseIdles
		f.reply(f.shell, m, "kernel_info_reply", f.info())
	case "complete_request":
		f.reply(f.shell, m, "complete_reply", json.RawMessage(
			`{"status":"ok","matches":["print"],"cursor_start":0,"cursor_end":0,"metadata":{}}`))
	case "comm_open", "comm_msg", "comm_close": // no reply; told back so that tests see them
		f.publish(m, "stream", map[string]string{"name": "stdout", "text": m.Type() + " " + string(m.Content)})
	default:
		f.reply(f.shell, m, replyType(m.Type()), json.RawMessage(`{"status":"ok"}`))
	}
	if !skipIdle {
		f.status(m, "idle")
	}
}

func replyType(request string) string {
	const suffix = "_request"
	if n := len(request) - len(suffix); n > 0 && request[n:] == suffix {
		return request[:n] + "_reply"
	}
	return request + "_reply"
}

func (f *fake) status(parent *wire.Message, state string) {
	f.publish(parent, "status", map[string]string{"execution_state": state})
}

// message returns a signed message's frames.
func (f *fake) message(parent *wire.Message, ids [][]byte, msgType string, content any, buffers ...[]byte) [][]byte {
	raw, err := json.Marshal(content)
	if err != nil {
		panic(err) // a fault of the fake
	}
	f.mu.Lock()
	f.serial++
	serial := f.serial
	f.mu.Unlock()
	m := &wire.Message{
		Identities: ids,
		Header: wire.Header{
			MsgID: fmt.Sprintf("%s_%d", f.id, serial), Session: f.id, Username: "fake",
			Date: wire.FormatDate(time.Now()), MsgType: msgType, Version: wire.ProtocolVersion,
		},
		Content: raw, Buffers: buffers,
	}
	if parent != nil {
		m.SetParent(parent)
	}
	frames, err := f.codec.Encode(m)
	if err != nil {
		panic(err) // a fault of the fake
	}
	return frames
}

func (f *fake) publish(parent *wire.Message, msgType string, content any, buffers ...[]byte) {
	f.iopub.Send(f.message(parent, [][]byte{[]byte("kernel." + msgType)}, msgType, content, buffers...))
}

func (f *fake) reply(r *serve.Router, m *wire.Message, msgType string, content any) {
	r.Send(f.message(m, m.Identities, msgType, content))
}
