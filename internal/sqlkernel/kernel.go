package sqlkernel

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"quire/internal/kernel/serve"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
	"quire/internal/query"
)

// A Gateway answers for the query gateway of a server. *api.Client is one.
type Gateway interface {
	SubmitQuery(ctx context.Context, req query.Request) (query.Query, error)
	Query(ctx context.Context, id string, wait int) (query.Query, error)
	CancelQuery(ctx context.Context, id string) (query.Query, error)
	QueryResult(ctx context.Context, id, format string) (io.ReadCloser, error)
	Catalog(ctx context.Context, connection string) ([]query.Table, error)
}

// Config is what a kernel is started with.
type Config struct {
	ConnectionFile string
	// Gateway finds the server. It is called for every cell: the token may be
	// another one by then.
	Gateway  func() (Gateway, error)
	Notebook string // that the kernel is of, for the history; may be empty
	Run      string // that the kernel is of; may be empty
	Version  string // of this program
	// Interrupts says that the statement that runs is to end; may be nil.
	Interrupts <-chan struct{}
}

// maxQueue is how many requests may wait.
const maxQueue = 1024

// kernel is a running one. Cells are executed one after the other by Run's own
// goroutine, which alone uses what is below "the session".
type kernel struct {
	cfg   Config
	codec *wire.Codec
	id    string

	iopub          *serve.Publisher
	shell, control *serve.Router
	requests       chan *wire.Message
	done           chan struct{}
	end            sync.Once

	mu     sync.Mutex
	serial int
	cancel context.CancelFunc // of the cell that is executed; nil when none is

	session
}

// Run serves a connection file until a frontend asks it to end or ctx does.
func Run(ctx context.Context, cfg Config) error {
	conn, err := serve.ReadConnection(cfg.ConnectionFile)
	if err != nil {
		return err
	}
	k := &kernel{
		cfg: cfg, codec: wire.NewCodec([]byte(conn.Key)), id: "sql-" + strings.ToLower(rand.Text())[:12],
		requests: make(chan *wire.Message, maxQueue), done: make(chan struct{}), session: newSession(),
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closeAll, err := k.listen(conn)
	defer closeAll()
	if err != nil {
		return err
	}
	go k.watch(ctx, cancel)
	k.publish(nil, "status", map[string]string{"execution_state": "starting"})
	for {
		select {
		case m := <-k.requests:
			k.answer(ctx, m)
		case <-ctx.Done():
			return nil
		}
	}
}

// listen opens the sockets. What it returns closes them, also after an error.
func (k *kernel) listen(conn serve.Connection) (closeAll func(), err error) {
	var all []net.Listener
	closeAll = func() {
		for _, l := range all {
			_ = l.Close()
		}
	}
	for _, port := range []int{conn.IOPubPort, conn.HBPort, conn.StdinPort, conn.ControlPort, conn.ShellPort} {
		l, err := conn.Listen(port)
		if err != nil {
			return closeAll, problem.WrapAs(problem.Unavailable, err, "listening on port %d of the connection file", port)
		}
		all = append(all, l)
	}
	k.iopub = serve.NewPublisher(all[0])
	serve.Heartbeat(all[1])
	serve.NewRouter(all[2], func(*serve.Router, [][]byte) {}) // SQL asks for no input
	ready := make(chan struct{})                              // the routers are known to those who answer
	defer close(ready)
	k.control = serve.NewRouter(all[3], func(_ *serve.Router, frames [][]byte) {
		<-ready
		k.onControl(frames)
	})
	k.shell = serve.NewRouter(all[4], func(_ *serve.Router, frames [][]byte) {
		<-ready
		if m, err := k.codec.Decode(wire.Shell, frames, time.Now()); err == nil {
			k.requests <- m // a client that asks too much waits
		}
	})
	return closeAll, nil
}

// watch ends the kernel, and passes interrupts on.
func (k *kernel) watch(ctx context.Context, cancel context.CancelFunc) {
	for {
		select {
		case <-k.cfg.Interrupts:
			k.interrupt()
		case <-k.done:
			cancel()
			return
		case <-ctx.Done():
			return
		}
	}
}

// interrupt ends the cell that is executed.
func (k *kernel) interrupt() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cancel != nil {
		k.cancel()
	}
}

func (k *kernel) onControl(frames [][]byte) {
	m, err := k.codec.Decode(wire.Control, frames, time.Now())
	if err != nil {
		return
	}
	k.publish(m, "status", map[string]string{"execution_state": "busy"})
	defer k.publish(m, "status", map[string]string{"execution_state": "idle"})
	switch m.Type() {
	case "interrupt_request":
		k.interrupt()
		k.reply(k.control, m, map[string]any{"status": "ok"})
	case "shutdown_request":
		k.shutdown(k.control, m)
	case "kernel_info_request":
		k.reply(k.control, m, k.info())
	default:
		k.reply(k.control, m, map[string]any{"status": "error", "ename": "NotImplemented", "evalue": "the SQL kernel has no " + m.Type(), "traceback": []string{}})
	}
}

func (k *kernel) shutdown(r *serve.Router, m *wire.Message) {
	var req struct {
		Restart bool `json:"restart"`
	}
	_ = m.Decode(&req) // without it, no restart
	k.interrupt()
	k.reply(r, m, map[string]any{"status": "ok", "restart": req.Restart})
	k.end.Do(func() { close(k.done) })
}

func (k *kernel) info() any {
	return map[string]any{
		"status": "ok", "protocol_version": "5.4", "implementation": "quire-sql", "implementation_version": k.cfg.Version,
		"language_info": map[string]any{
			"name": "sql", "version": k.cfg.Version, "mimetype": "text/x-sql", "file_extension": ".sql",
			"codemirror_mode": "sql", "pygments_lexer": "sql",
		},
		"banner":     "SQL on the connections of Quire. A first line \"-- connection: NAME\" chooses one.",
		"help_links": []any{}, "debugger": false,
	}
}

// answer answers one message of the shell channel.
func (k *kernel) answer(ctx context.Context, m *wire.Message) {
	if m.Type() == "execute_request" { // who sees that it is executed can interrupt it
		cell, cancel := context.WithCancel(ctx)
		defer cancel()
		k.setCancel(cancel)
		ctx = cell
	}
	k.publish(m, "status", map[string]string{"execution_state": "busy"})
	defer k.publish(m, "status", map[string]string{"execution_state": "idle"})
	switch m.Type() {
	case "execute_request":
		k.execute(ctx, m)
	case "kernel_info_request":
		k.reply(k.shell, m, k.info())
	case "shutdown_request":
		k.shutdown(k.shell, m)
	case "complete_request":
		k.reply(k.shell, m, k.complete(ctx, m))
	case "inspect_request":
		k.reply(k.shell, m, k.inspect(ctx, m))
	case "is_complete_request":
		k.reply(k.shell, m, isComplete(m))
	case "comm_info_request":
		k.reply(k.shell, m, map[string]any{"status": "ok", "comms": map[string]any{}})
	case "history_request":
		k.reply(k.shell, m, map[string]any{"status": "ok", "history": []any{}})
	case "comm_open", "comm_msg", "comm_close": // there are none
	default:
		k.reply(k.shell, m, map[string]any{"status": "error", "ename": "NotImplemented", "evalue": "the SQL kernel has no " + m.Type(), "traceback": []string{}})
	}
}

// execute executes a cell. After a failure the cells that wait are not.
func (k *kernel) execute(ctx context.Context, m *wire.Message) {
	req := struct {
		Code         string `json:"code"`
		Silent       bool   `json:"silent"`
		StoreHistory bool   `json:"store_history"`
		StopOnError  bool   `json:"stop_on_error"`
	}{StopOnError: true, StoreHistory: true}
	if err := m.Decode(&req); err != nil {
		k.setCancel(nil)
		k.reply(k.shell, m, errorReply(k.count, problem.WrapAs(problem.Invalid, err, "reading the request")))
		return
	}
	if !req.Silent {
		if req.StoreHistory {
			k.count++
		}
		k.publish(m, "execute_input", map[string]any{"code": req.Code, "execution_count": k.count})
	}
	err := k.cell(ctx, req.Code, func(msgType string, content any) {
		if !req.Silent {
			k.publish(m, msgType, content)
		}
	})
	k.setCancel(nil)
	if err == nil {
		k.reply(k.shell, m, map[string]any{"status": "ok", "execution_count": k.count, "user_expressions": map[string]any{}, "payload": []any{}})
		return
	}
	reply := errorReply(k.count, err)
	if !req.Silent {
		k.publish(m, "error", map[string]any{"ename": reply["ename"], "evalue": reply["evalue"], "traceback": reply["traceback"]})
	}
	k.reply(k.shell, m, reply)
	if req.StopOnError {
		k.abort()
	}
}

func (k *kernel) setCancel(cancel context.CancelFunc) {
	k.mu.Lock()
	k.cancel = cancel
	k.mu.Unlock()
}

// abort answers what waits behind a cell that failed.
func (k *kernel) abort() {
	for range len(k.requests) {
		m := <-k.requests
		if m.Type() != "execute_request" {
			k.answer(context.Background(), m)
			continue
		}
		k.publish(m, "status", map[string]string{"execution_state": "busy"})
		k.reply(k.shell, m, map[string]any{"status": "aborted", "execution_count": k.count})
		k.publish(m, "status", map[string]string{"execution_state": "idle"})
	}
}

// errorReply is a failure as Jupyter has it.
func errorReply(count int, err error) map[string]any {
	name, text := "Error", err.Error()
	switch kind := problem.KindOf(err); {
	case errors.Is(err, errInterrupted):
		name = "KeyboardInterrupt"
	case kind == problem.Invalid:
		name = "SQLError"
	case kind != problem.Internal:
		words := strings.Fields(kind.String())
		for i, w := range words {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
		name = strings.Join(words, "")
	}
	lines := []string{name + ": " + text}
	var at *placed
	if errors.As(err, &at) {
		lines = append(lines, at.excerpt...)
	}
	return map[string]any{
		"status": "error", "execution_count": count, "ename": name, "evalue": text, "traceback": lines,
		"user_expressions": map[string]any{}, "payload": []any{},
	}
}

func (k *kernel) publish(parent *wire.Message, msgType string, content any) {
	if frames := k.message(parent, [][]byte{[]byte("kernel." + msgType)}, msgType, content); frames != nil {
		k.iopub.Send(frames)
	}
}

func (k *kernel) reply(r *serve.Router, m *wire.Message, content any) {
	msgType := strings.TrimSuffix(m.Type(), "_request") + "_reply"
	if frames := k.message(m, m.Identities, msgType, content); frames != nil {
		r.Send(frames)
	}
}

// message returns a signed message's frames; nil for a content that is no JSON,
// which is a fault of this package.
func (k *kernel) message(parent *wire.Message, ids [][]byte, msgType string, content any) [][]byte {
	raw, err := json.Marshal(content)
	if err != nil {
		panic(err)
	}
	k.mu.Lock()
	k.serial++
	serial := k.serial
	k.mu.Unlock()
	m := &wire.Message{
		Identities: ids,
		Header: wire.Header{
			MsgID: fmt.Sprintf("%s_%d", k.id, serial), Session: k.id, Username: "quire",
			Date: wire.FormatDate(time.Now()), MsgType: msgType, Version: wire.ProtocolVersion,
		},
		Content: raw,
	}
	if parent != nil {
		m.SetParent(parent)
	}
	frames, err := k.codec.Encode(m)
	if err != nil {
		panic(err)
	}
	return frames
}
