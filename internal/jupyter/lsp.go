package jupyter

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"quire/internal/api"
	"quire/internal/problem"
)

// Limits of language servers.
const (
	maxLanguageServers = 4        // processes at a time
	maxLanguageMessage = 16 << 20 // bytes of one message, either way
	maxLanguageHeader  = 4 << 10  // bytes in front of one
	languageGrace      = 2 * time.Second
)

// A languageServer is a program that speaks the Language Server Protocol on its
// standard input and output.
type languageServer struct {
	name    string // as jupyter-lsp calls it
	program string
	args    []string
	title   string
	home    string
}

// languageServers are those that are looked for, in the order of preference.
var languageServers = []languageServer{
	{name: "pylsp", program: "pylsp", title: "python-lsp-server (pylsp)", home: "https://github.com/python-lsp/python-lsp-server"},
	{name: "basedpyright", program: "basedpyright-langserver", args: []string{"--stdio"}, title: "basedpyright", home: "https://github.com/DetachHead/basedpyright"},
}

// A languageUse counts what runs.
type languageUse struct {
	mu      sync.Mutex
	clients map[string]int // by the server's name
	all     int
	closed  bool
	running sync.WaitGroup
}

func (s *Server) languageRoutes() []route {
	return []route{
		{pattern: "GET /lsp/status", handler: s.languageStatus, quiet: true},
		{pattern: "GET /lsp/ws/{name}", handler: s.languageSocket},
	}
}

// findLanguageServer returns the path of a language server's program: beside the
// interpreter of a Python kernel, whose packages it knows then, or on PATH; ""
// when it is not installed.
func (s *Server) findLanguageServer(l languageServer) string {
	specs, _ := s.cfg.Kernels.List() // what cannot be used is not asked
	for _, spec := range specs {
		if !strings.EqualFold(spec.Language, "python") || len(spec.Argv) == 0 || !filepath.IsAbs(spec.Argv[0]) {
			continue
		}
		if beside, err := exec.LookPath(filepath.Join(filepath.Dir(spec.Argv[0]), l.program)); err == nil {
			return beside
		}
	}
	if found, err := exec.LookPath(l.program); err == nil && filepath.IsAbs(found) {
		return found
	}
	return ""
}

// languageStatus lists the language servers that are installed, as jupyter-lsp
// does.
func (s *Server) languageStatus(w http.ResponseWriter, _ *http.Request) error {
	sessions, specs := map[string]any{}, map[string]any{}
	for _, l := range languageServers {
		if s.findLanguageServer(l) == "" {
			continue
		}
		spec := map[string]any{
			"version": 2, "display_name": l.title, "languages": []string{"python"},
			"mime_types": []string{"text/python", "text/x-ipython"}, "requires_documents_on_disk": false,
			"urls": map[string]string{"home": l.home}, "install": map[string]string{},
		}
		s.languages.mu.Lock()
		clients := s.languages.clients[l.name]
		s.languages.mu.Unlock()
		status := "not_started"
		if clients > 0 {
			status = "started"
		}
		specs[l.name] = spec
		sessions[l.name] = map[string]any{
			"handler_count": clients, "status": status, "last_server_message_at": nil, "last_handler_message_at": nil, "spec": spec,
		}
	}
	return api.WriteJSON(w, http.StatusOK, map[string]any{"version": 2, "sessions": sessions, "specs": specs})
}

// languageRoots are the folders that a page's language client names: the one
// that is served, and one for what is not on the disk.
func (s *Server) languageRoots() (root, virtual string) {
	root = (&url.URL{Scheme: "file", Path: filepath.ToSlash(s.cfg.Dir)}).String()
	return root, root + "/.virtual_documents"
}

// languageSocket is the WebSocket of one client of a language server: one frame
// is one message. Each has a process of its own, since the protocol knows one
// client: a second would close the documents of the first.
func (s *Server) languageSocket(w http.ResponseWriter, r *http.Request) error {
	l, program, err := s.languageServer(r.PathValue("name"))
	if err != nil {
		return err
	}
	done, err := s.languages.take(l.name)
	if err != nil {
		return err
	}
	defer done()
	conn, err := accept(w, r)
	if err != nil || conn == nil {
		return err
	}
	conn.SetReadLimit(maxLanguageMessage)
	ctx, cancel := s.untilClosed(r.Context())
	defer cancel()
	err = s.speak(ctx, cancel, conn, program, l.args)
	if err != nil && ctx.Err() == nil {
		s.cfg.Log.LogAttrs(ctx, slog.LevelWarn, "a language server ended", slog.String("server", l.name), slog.String("err", err.Error()))
	}
	_ = conn.Close(websocket.StatusGoingAway, "the language server has ended")
	return nil
}

func (s *Server) languageServer(name string) (languageServer, string, error) {
	for _, l := range languageServers {
		if l.name != name {
			continue
		}
		if program := s.findLanguageServer(l); program != "" {
			return l, program, nil
		}
		return l, "", problem.New(problem.NotFound, "%s is not installed beside a Python kernel or on PATH", l.title)
	}
	return languageServer{}, "", problem.New(problem.NotFound, "there is no language server %q", clip(name, 40))
}

// take counts one more process; what it returns, one less.
func (u *languageUse) take(name string) (done func(), err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case u.closed:
		return nil, problem.New(problem.Unavailable, "the server is stopping")
	case u.all >= maxLanguageServers:
		return nil, problem.New(problem.Unavailable, "%d language servers run already: close a page that uses one", u.all)
	case u.clients == nil:
		u.clients = map[string]int{}
	}
	u.all++
	u.clients[name]++
	u.running.Add(1)
	return func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.all--
		u.clients[name]--
		u.running.Done()
	}, nil
}

// close waits for the end of all; their contexts have ended.
func (u *languageUse) close() {
	u.mu.Lock()
	u.closed = true
	u.mu.Unlock()
	u.running.Wait()
}

// speak starts a language server and passes messages on both ways until either
// side ends. cancel ends ctx.
func (s *Server) speak(ctx context.Context, cancel func(), conn *websocket.Conn, program string, args []string) error {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = s.cfg.Dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "QUIRE_") { // tokens are for kernels and this server
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "PYTHONUNBUFFERED=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // some are a script around the server
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = languageGrace
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "starting %s", program)
	}
	var passing sync.WaitGroup
	passing.Go(func() {
		defer cancel()
		fromClientToServer(ctx, conn, in)
	})
	stop := make(chan struct{})
	passing.Go(func() { pingRoom(ctx, conn, cancel, stop) })
	err = fromServerToClient(ctx, bufio.NewReaderSize(out, maxLanguageHeader), conn)
	cancel()
	close(stop)
	_ = cmd.Wait()      // it is killed, with what it has started
	_ = conn.CloseNow() // a read that waits ends with it
	passing.Wait()
	return err
}

// fromClientToServer writes each frame as a message.
func fromClientToServer(ctx context.Context, conn *websocket.Conn, in io.Writer) {
	for {
		_, frame, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if !json.Valid(frame) { // it would leave the server waiting for the rest
			continue
		}
		if _, err := fmt.Fprintf(in, "Content-Length: %d\r\n\r\n%s", len(frame), frame); err != nil {
			return
		}
	}
}

// fromServerToClient sends each message as a frame.
func fromServerToClient(ctx context.Context, out *bufio.Reader, conn *websocket.Conn) error {
	for {
		message, err := readLanguageMessage(out)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, writeLimit)
		err = conn.Write(limited, websocket.MessageText, bytes.ToValidUTF8(message, []byte("\uFFFD")))
		cancel()
		if err != nil {
			return err
		}
	}
}

// readLanguageMessage reads one message with its header. The reader's buffer
// bounds a line of the header.
func readLanguageMessage(r *bufio.Reader) ([]byte, error) {
	length := -1
	for read := 0; ; {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if read += len(line); read > maxLanguageHeader {
			return nil, problem.New(problem.Invalid, "a header of over %d bytes", maxLanguageHeader)
		}
		text := strings.TrimSpace(string(line))
		if text == "" && length >= 0 {
			break
		}
		name, value, _ := strings.Cut(text, ":")
		if !strings.EqualFold(name, "Content-Length") {
			continue
		}
		if length, err = strconv.Atoi(strings.TrimSpace(value)); err != nil || length < 0 || length > maxLanguageMessage {
			return nil, problem.New(problem.Invalid, "a message of %s bytes: want at most %d", clip(value, 40), maxLanguageMessage)
		}
	}
	message := make([]byte, length)
	_, err := io.ReadFull(r, message)
	return message, err
}
