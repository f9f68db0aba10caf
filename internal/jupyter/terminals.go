package jupyter

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"
	"github.com/creack/pty"

	"quire/internal/api"
	"quire/internal/problem"
	"quire/internal/socket"
)

// Limits of terminals.
const (
	maxTerminals  = 100
	scrollback    = 256 << 10              // bytes of output that a new client is shown
	maxTermQueue  = 4 << 20                // bytes that wait for one client; with more it is closed and may come back
	maxTermFrame  = 16 << 20               // bytes of one message from a client
	hangUpGrace   = 2 * time.Second        // between SIGHUP and SIGKILL
	lastWords     = 300 * time.Millisecond // how long an ended shell's output is still read
	defaultRows   = 24
	defaultCols   = 80
	maxDimension  = 4096
	terminalChunk = 32 << 10
)

var terminalName = regexp.MustCompile(`^\w{1,64}$`)

func (s *Server) terminalRoutes() []route {
	if s.cfg.NoTerminals {
		return nil
	}
	return []route{
		{pattern: "GET /api/terminals", handler: s.listTerminals},
		{pattern: "POST /api/terminals", handler: s.postTerminal},
		{pattern: "GET /api/terminals/{name}", handler: s.getTerminal},
		{pattern: "DELETE /api/terminals/{name}", handler: s.deleteTerminal},
		{pattern: "GET /terminals/websocket/{name}", handler: s.terminalSocket},
	}
}

// A terminal is a shell on a pseudo-terminal with everybody who looks at it.
type terminal struct {
	name string
	cmd  *exec.Cmd
	pty  *os.File
	gone chan struct{} // closed when the shell has ended and everything was read

	writing sync.Mutex // keeps what clients type whole

	mu       sync.Mutex
	active   time.Time
	recent   []byte // the newest output, at most scrollback bytes
	watchers map[*watcher]struct{}
}

// A watcher is one client of a terminal.
type watcher struct {
	rows, cols int // zero until the client says
	queue      [][]byte
	queued     int
	wake       chan struct{} // capacity 1
	overflow   bool
}

type terminalModel struct {
	Name         string    `json:"name"`
	LastActivity time.Time `json:"last_activity"`
}

func (t *terminal) model() terminalModel {
	t.mu.Lock()
	defer t.mu.Unlock()
	return terminalModel{t.name, t.active.UTC().Truncate(time.Microsecond)}
}

// startTerminal starts a shell in dir. ended is called when it is gone.
func startTerminal(name, dir string, env []string, ended func(*terminal)) (*terminal, error) {
	shell := os.Getenv("SHELL")
	if !filepath.IsAbs(shell) {
		shell = "/bin/sh"
		if _, err := os.Stat("/bin/bash"); err == nil {
			shell = "/bin/bash"
		}
	}
	cmd := exec.Command(shell, "-l")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "JUPYTER_SERVER_ROOT="+dir)
	cmd.Env = append(cmd.Env, env...)
	file, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: defaultRows, Cols: defaultCols})
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "starting %s on a terminal", shell)
	}
	t := &terminal{name: name, cmd: cmd, pty: file, gone: make(chan struct{}), active: time.Now(), watchers: map[*watcher]struct{}{}}
	go t.run(ended)
	return t, nil
}

// run passes the shell's output on until the shell ends. Jobs that it leaves
// behind hold the terminal open: they are told to hang up, and are not waited
// for.
func (t *terminal) run(ended func(*terminal)) {
	var reading sync.WaitGroup
	reading.Go(t.read)
	awaitExit(t.cmd.Process.Pid)
	signalSession(t.cmd.Process.Pid, syscall.SIGHUP)
	_ = t.pty.SetReadDeadline(time.Now().Add(lastWords))
	reading.Wait()
	_ = t.cmd.Wait()
	_ = t.pty.Close()
	ended(t)
	t.mu.Lock()
	for v := range t.watchers {
		v.add(frameOf("disconnect", 1))
	}
	t.mu.Unlock()
	close(t.gone)
}

// read passes the shell's output on until nobody writes any more.
func (t *terminal) read() {
	b := make([]byte, terminalChunk)
	var cut []byte // the beginning of a character whose end has not come
	for late := 0; ; {
		n, err := t.pty.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) && late < scrollback { // its last words are there
			n, err = socket.ReadNow(t.pty, b)
			late += n
		}
		if n > 0 {
			text := append(cut, b[:n]...)
			whole := wholeCharacters(text)
			t.show(text[:whole:whole])
			cut = slices.Clone(text[whole:])
		}
		if err != nil {
			break
		}
	}
}

// wholeCharacters returns how many bytes of b are whole UTF-8 characters. What
// can never become one counts as whole.
func wholeCharacters(b []byte) int {
	for back := 1; back < utf8.UTFMax && back <= len(b); back++ {
		if at := len(b) - back; utf8.RuneStart(b[at]) {
			if !utf8.FullRune(b[at:]) {
				return at
			}
			break
		}
	}
	return len(b)
}

func frameOf(parts ...any) []byte {
	b, err := json.Marshal(parts)
	if err != nil { // strings and numbers always marshal
		return []byte(`["stdout",""]`)
	}
	return b
}

// show keeps output for who comes later and gives it to every viewer.
func (t *terminal) show(text []byte) {
	frame := frameOf("stdout", string(text))
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active = time.Now()
	t.recent = append(t.recent, text...)
	if over := len(t.recent) - scrollback; over > 0 {
		for over < len(t.recent) && !utf8.RuneStart(t.recent[over]) {
			over++
		}
		t.recent = append([]byte(nil), t.recent[over:]...)
	}
	for v := range t.watchers {
		v.add(frame)
	}
}

// add queues a frame. The caller holds the terminal's mu.
func (v *watcher) add(frame []byte) {
	if v.queued+len(frame) > maxTermQueue {
		v.overflow, v.queue, v.queued = true, nil, 0
	}
	if !v.overflow {
		v.queue = append(v.queue, frame)
		v.queued += len(frame)
	}
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

// take returns what waits for a viewer; ok is false when it was too slow.
func (t *terminal) take(v *watcher) (frames [][]byte, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	frames, v.queue, v.queued = v.queue, nil, 0
	return frames, !v.overflow
}

// join adds a viewer, which is shown the recent output first.
func (t *terminal) join() *watcher {
	v := &watcher{wake: make(chan struct{}, 1)}
	t.mu.Lock()
	defer t.mu.Unlock()
	v.add(frameOf("setup", map[string]string{}))
	if len(t.recent) > 0 {
		v.add(frameOf("stdout", string(t.recent)))
	}
	t.watchers[v] = struct{}{}
	return v
}

func (t *terminal) leave(v *watcher) {
	t.mu.Lock()
	delete(t.watchers, v)
	t.mu.Unlock()
	t.resize()
}

// resize makes the terminal as large as all viewers can show.
func (t *terminal) resize() {
	t.mu.Lock()
	rows, cols := 0, 0
	for v := range t.watchers {
		if v.rows > 0 && (rows == 0 || v.rows < rows) {
			rows = v.rows
		}
		if v.cols > 0 && (cols == 0 || v.cols < cols) {
			cols = v.cols
		}
	}
	t.mu.Unlock()
	if rows > 0 && cols > 0 {
		_ = pty.Setsize(t.pty, &pty.Winsize{Rows: uint16(rows), Cols: uint16(cols)}) // fails only when the shell is gone
	}
}

// say handles a message of a client.
func (t *terminal) say(v *watcher, frame []byte) {
	var parts []json.RawMessage
	var kind string
	if json.Unmarshal(frame, &parts) != nil || len(parts) < 2 || json.Unmarshal(parts[0], &kind) != nil {
		return
	}
	switch kind {
	case "stdin":
		var text string
		if json.Unmarshal(parts[1], &text) == nil {
			t.mu.Lock()
			t.active = time.Now()
			t.mu.Unlock()
			t.writing.Lock()
			_, _ = t.pty.WriteString(text) // a shell that is gone is told by "disconnect"
			t.writing.Unlock()
		}
	case "set_size":
		var rows, cols float64
		if len(parts) < 3 || json.Unmarshal(parts[1], &rows) != nil || json.Unmarshal(parts[2], &cols) != nil {
			return
		}
		if rows < 1 || cols < 1 || rows > maxDimension || cols > maxDimension {
			return
		}
		t.mu.Lock()
		v.rows, v.cols = int(rows), int(cols)
		t.mu.Unlock()
		t.resize()
	}
}

// close ends the shell and all that runs in it, and returns when it is gone.
func (t *terminal) close() {
	signalSession(t.cmd.Process.Pid, syscall.SIGHUP)
	timer := time.NewTimer(hangUpGrace)
	defer timer.Stop()
	select {
	case <-t.gone:
		return
	case <-timer.C:
	}
	killSession(t.cmd.Process.Pid)
	<-t.gone
}

func (s *Server) allTerminals() []*terminal {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*terminal, 0, len(s.terminals))
	for _, t := range s.terminals {
		all = append(all, t)
	}
	return all
}

func (s *Server) terminal(name string) (*terminal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.terminals[name]; t != nil {
		return t, nil
	}
	return nil, problem.New(problem.NotFound, "no terminal %s: its shell has ended, or never was", clip(name, 64))
}

func (s *Server) listTerminals(w http.ResponseWriter, _ *http.Request) error {
	models := []terminalModel{}
	for _, t := range s.allTerminals() {
		models = append(models, t.model())
	}
	slices.SortFunc(models, func(a, b terminalModel) int {
		if len(a.Name) != len(b.Name) {
			return len(a.Name) - len(b.Name)
		}
		return map[bool]int{true: -1, false: 1}[a.Name < b.Name]
	})
	return api.WriteJSON(w, http.StatusOK, models)
}

func (s *Server) postTerminal(w http.ResponseWriter, r *http.Request) error {
	var body struct {
		Name string `json:"name"`
		Cwd  string `json:"cwd"`
	}
	if err := readJSON(r, &body); err != nil {
		return err
	}
	if body.Name != "" && !terminalName.MatchString(body.Name) {
		return problem.New(problem.Invalid, "name %.64q: want letters, digits and _", body.Name)
	}
	dir := s.directory(r.Context(), body.Cwd)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return problem.New(problem.Unavailable, "the server is stopping")
	case len(s.terminals) >= maxTerminals:
		return problem.New(problem.Unavailable, "%d terminals are open already: close some first", maxTerminals)
	case body.Name != "" && s.terminals[body.Name] != nil:
		return problem.New(problem.Exists, "there is a terminal %s already", body.Name)
	}
	name := body.Name
	for n := 1; name == ""; n++ {
		if s.terminals[strconv.Itoa(n)] == nil {
			name = strconv.Itoa(n)
		}
	}
	var env []string
	if s.cfg.Env != nil {
		env = s.cfg.Env()
	}
	t, err := startTerminal(name, dir, env, s.forgetTerminal)
	if err != nil {
		return err
	}
	s.terminals[name] = t
	return api.WriteJSON(w, http.StatusOK, t.model())
}

func (s *Server) forgetTerminal(t *terminal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.terminals[t.name] == t {
		delete(s.terminals, t.name)
	}
}

func (s *Server) getTerminal(w http.ResponseWriter, r *http.Request) error {
	t, err := s.terminal(r.PathValue("name"))
	if err != nil {
		return err
	}
	return api.WriteJSON(w, http.StatusOK, t.model())
}

func (s *Server) deleteTerminal(w http.ResponseWriter, r *http.Request) error {
	t, err := s.terminal(r.PathValue("name"))
	if err != nil {
		return err
	}
	t.close()
	return noContent(w)
}

// terminalSocket speaks terminado's protocol: lists of JSON in text frames.
func (s *Server) terminalSocket(w http.ResponseWriter, r *http.Request) error {
	t, err := s.terminal(r.PathValue("name"))
	if err != nil {
		return err
	}
	conn, err := accept(w, r)
	if err != nil || conn == nil {
		return err
	}
	conn.SetReadLimit(maxTermFrame)
	ctx, cancel := s.untilClosed(r.Context())
	defer cancel()
	v := t.join()
	defer t.leave(v)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer cancel()
		for {
			_, frame, err := conn.Read(ctx)
			if err != nil {
				return
			}
			s.touch()
			t.say(v, frame)
		}
	})
	wg.Go(func() {
		defer cancel()
		keepAlive(ctx, conn)
	})
	t.send(ctx, conn, v)
	cancel()
	_ = conn.CloseNow()
	wg.Wait()
	return nil
}

// send writes what waits for a viewer until the shell or the client is gone.
func (t *terminal) send(ctx context.Context, conn *websocket.Conn, v *watcher) {
	for over := false; ; {
		frames, ok := t.take(v)
		if !ok {
			_ = conn.Close(websocket.StatusTryAgainLater, "the client reads too slowly")
			return
		}
		for _, frame := range frames {
			if writeText(ctx, conn, frame) != nil {
				return
			}
		}
		if over {
			_ = conn.Close(websocket.StatusNormalClosure, "the shell has ended")
			return
		}
		select {
		case <-v.wake:
		case <-t.gone: // once more: its last words may have come
			over = true
		case <-ctx.Done():
			return
		}
	}
}

func writeText(ctx context.Context, conn *websocket.Conn, frame []byte) error {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	return conn.Write(ctx, websocket.MessageText, frame)
}

// keepAlive pings until the client does not answer.
func keepAlive(ctx context.Context, conn *websocket.Conn) {
	for ctx.Err() == nil {
		pause(ctx, pingEvery)
		ping, cancel := context.WithTimeout(ctx, pongLimit)
		err := conn.Ping(ping)
		cancel()
		if err != nil {
			return
		}
	}
}
