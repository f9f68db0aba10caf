package jupyter

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"

	"quire/internal/api"
	"quire/internal/kernel/wire"
	"quire/internal/problem"
	documents "quire/internal/session"
)

// documentsDir is where, below the server's state, live documents are kept.
const documentsDir = "documents"

// openDocuments opens the live documents of the folder.
func (s *Server) openDocuments() (err error) {
	s.documents, err = documents.New(documents.Config{
		Volume: s.cfg.Volume, User: s.cfg.User, Dir: filepath.Join(s.cfg.State, documentsDir),
		Busy: s.hasKernel, Log: s.cfg.Log, Attach: s.attachDocument,
		Shown: func(path string) string { return strings.TrimPrefix(path, s.full("")+"/") },
	})
	return err
}

// hasKernel reports whether a session ties the file at path, on the volume, to a
// kernel.
func (s *Server) hasKernel(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.sessions {
		if s.full(one.path) == path {
			return true
		}
	}
	return false
}

func (s *Server) collaborationRoutes() []route {
	return []route{
		{pattern: "PUT /api/collaboration/session/{path...}", handler: s.documentSession},
		{pattern: "GET /api/collaboration/room/{room...}", handler: s.documentRoom},
		{pattern: "GET /api/collaboration/outputs/{hash}", handler: s.documentOutput, quiet: true},
		{pattern: "POST /api/collaboration/hold/{path...}", handler: s.holdDocument, quiet: true},
		{pattern: "DELETE /api/collaboration/hold/{id}", handler: s.releaseDocument, quiet: true},
		{pattern: "POST /api/kernels/{id}/execute", handler: s.executeCells},
		{pattern: "POST /api/kernels/{id}/input", handler: s.answerInput},
	}
}

// documentSession names the live document of a file, which is opened.
func (s *Server) documentSession(w http.ResponseWriter, r *http.Request) error {
	var q struct {
		Format string `json:"format"`
		Type   string `json:"type"`
	}
	if err := readJSON(r, &q); err != nil {
		return err
	}
	if want := map[string]string{"notebook": "json", "file": "text"}[q.Type]; want == "" || q.Format != want {
		return problem.New(problem.Invalid, "no live documents of type %q and format %q: want notebook and json, or file and text", clip(q.Type, 40), clip(q.Format, 40))
	}
	info, err := s.documents.Session(r.Context(), s.full(r.PathValue("path")), q.Type)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if info.New {
		status = http.StatusCreated
	}
	return api.WriteJSON(w, status, map[string]string{
		"format": info.Format, "type": info.Type, "fileId": info.FileID, "sessionId": info.Session,
	})
}

// documentRoom is the WebSocket of one client of a live document.
func (s *Server) documentRoom(w http.ResponseWriter, r *http.Request) error {
	conn, err := accept(w, r)
	if err != nil || conn == nil {
		return err
	}
	conn.SetReadLimit(documents.MaxFrame)
	ctx, cancel := s.untilClosed(r.Context())
	defer cancel()
	peer, err := s.documents.Join(ctx, r.PathValue("room"), r.URL.Query().Get("sessionId"))
	if err != nil {
		closeRoom(conn, err)
		return nil
	}
	defer peer.Leave()
	received := make(chan struct{})
	go func() {
		defer close(received)
		defer cancel()
		for {
			kind, frame, err := conn.Read(ctx)
			if err != nil {
				return
			}
			if kind == websocket.MessageBinary {
				if err = peer.Receive(ctx, frame); err != nil {
					closeRoom(conn, err)
					return
				}
			}
		}
	}()
	stop := make(chan struct{})
	pinged := make(chan struct{})
	go func() {
		defer close(pinged)
		pingRoom(ctx, conn, cancel, stop)
	}()
	err = sendRoom(ctx, conn, peer)
	closeRoom(conn, err)
	cancel()
	close(stop)
	_ = conn.CloseNow() // a read that waits ends with it
	<-received
	<-pinged
	return nil
}

// sendRoom writes what is for the client until either side ends it.
func sendRoom(ctx context.Context, conn *websocket.Conn, peer *documents.Peer) error {
	for {
		frame, err := peer.Next(ctx)
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, writeLimit)
		err = conn.Write(limited, websocket.MessageBinary, frame)
		cancel()
		if err != nil {
			return err
		}
	}
}

// pingRoom ends a connection whose other side is gone without a word.
func pingRoom(ctx context.Context, conn *websocket.Conn, gone func(), stop <-chan struct{}) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-stop:
			return
		case <-ctx.Done():
			return
		}
		limited, cancel := context.WithTimeout(ctx, pongLimit)
		err := conn.Ping(limited)
		cancel()
		if err != nil {
			gone()
			return
		}
	}
}

// closeRoom tells the client why its connection ends.
func closeRoom(conn *websocket.Conn, err error) {
	var refusal *documents.Refusal
	if errors.As(err, &refusal) {
		_ = conn.Close(websocket.StatusCode(refusal.Code), clip(refusal.Reason, 120))
		return
	}
	_ = conn.Close(websocket.StatusGoingAway, "")
}

// documentOutput answers with an output that is too large for a document.
func (s *Server) documentOutput(w http.ResponseWriter, r *http.Request) error {
	output, err := s.documents.Output(r.PathValue("hash"))
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	return api.WriteJSON(w, http.StatusOK, output)
}

// An executeRequest names cells of a live document to run. One cell may be named
// by cell_id alone, as jupyter-collaboration does.
type executeRequest struct {
	Document string `json:"document_id"`
	Cell     string `json:"cell_id"`
	Cells    []struct {
		ID   string      `json:"cell_id"`
		Hash json.Number `json:"source_hash"`
	} `json:"cells"`
	ID       string `json:"request_id"`
	Previous string `json:"previous_request_id"`
	Wait     bool   `json:"wait"` // answer when the last cell is done
	Stdin    bool   `json:"allow_stdin"`
}

func (q *executeRequest) cells() ([]documents.CellRef, error) {
	if q.Cell != "" {
		return []documents.CellRef{{ID: q.Cell}}, nil
	}
	cells := make([]documents.CellRef, 0, len(q.Cells))
	for _, c := range q.Cells {
		ref := documents.CellRef{ID: c.ID}
		if c.Hash != "" {
			n, err := strconv.ParseUint(c.Hash.String(), 10, 32)
			if err != nil {
				return nil, problem.New(problem.Invalid, "cell %s: source_hash %s: want a number of 32 bits", clip(c.ID, 80), clip(c.Hash.String(), 40))
			}
			hash := uint32(n)
			ref.Hash = &hash
		}
		cells = append(cells, ref)
	}
	return cells, nil
}

// executeCells queues cells of a live document. It answers when all are accepted;
// what they put out comes with the document.
func (s *Server) executeCells(w http.ResponseWriter, r *http.Request) error {
	l, err := s.kernel(r.PathValue("id"))
	if err != nil {
		return err
	}
	var q executeRequest
	if err := readJSON(r, &q); err != nil {
		return err
	}
	cells, err := q.cells()
	if err != nil {
		return err
	}
	room, err := s.documents.Open(r.Context(), q.Document)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	err = room.Execute(r.Context(), documents.ExecuteRequest{
		Kernel: l.id, Cells: cells, Stdin: q.Stdin, ID: clip(q.ID, 200), After: clip(q.Previous, 200),
		Connect: func(context.Context) (documents.Kernel, error) { return l.document(q.Document) },
	}, done)
	var mismatch *documents.SourceMismatch
	switch {
	case errors.As(err, &mismatch):
		return api.WriteJSON(w, http.StatusConflict, map[string]string{"error": "source_mismatch", "cell_id": mismatch.Cell, "message": err.Error()})
	case problem.Is(err, problem.Timeout):
		return api.WriteJSON(w, http.StatusRequestTimeout, map[string]string{"error": "previous_request_missing", "message": err.Error()})
	case err != nil:
		return err
	case !q.Wait:
		return api.WriteJSON(w, http.StatusOK, nil)
	}
	select {
	case err := <-done:
		answer := map[string]any{"status": "ok"}
		if err != nil {
			answer = map[string]any{"status": "error", "message": err.Error()}
		}
		return api.WriteJSON(w, http.StatusOK, answer)
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

// answerInput gives a cell of a live document the input that it asks for.
func (s *Server) answerInput(w http.ResponseWriter, r *http.Request) error {
	l, err := s.kernel(r.PathValue("id"))
	if err != nil {
		return err
	}
	var q struct {
		Document string `json:"document_id"`
		Input    string `json:"input"`
	}
	if err := readJSON(r, &q); err != nil {
		return err
	}
	room, err := s.documents.Open(r.Context(), q.Document)
	if err != nil {
		return err
	}
	if err := room.Answer(r.Context(), l.id, q.Input); err != nil {
		return err
	}
	return noContent(w)
}

// A documentKernel is a live document's connection to a kernel.
type documentKernel struct {
	l    *live
	c    *client
	left func() (last bool)
}

// attachDocument connects a live document again to a kernel that lived on when the
// server was killed; nil when it did not.
func (s *Server) attachDocument(kernelID, room string) documents.Kernel {
	l, err := s.kernel(kernelID)
	if err != nil {
		return nil
	}
	k, err := l.document(room)
	if err != nil {
		return nil
	}
	return k
}

// document connects a live document, which is one more client of the kernel.
func (l *live) document(name string) (documents.Kernel, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.joinLocked(documentSessions + name)
	if c == nil {
		return nil, problem.New(problem.NotFound, "kernel %s was shut down", l.id)
	}
	return &documentKernel{l: l, c: c, left: c.arrive(func() {})}, nil
}

func (k *documentKernel) Next(ctx context.Context) (*wire.Message, error) {
	return k.c.backlog.Next(ctx)
}

func (k *documentKernel) Send(ctx context.Context, m *wire.Message) error {
	k.l.send(ctx, k.c, m) // a dead kernel answers with why
	return nil
}

func (k *documentKernel) Committed(seq uint64) { k.c.has(seq) }

// Leave ends the connection. One that the document has made since is another,
// and goes on.
func (k *documentKernel) Leave() {
	k.l.mu.Lock()
	defer k.l.mu.Unlock()
	if !k.left() {
		return
	}
	if k.l.clients[k.c.session] == k.c {
		delete(k.l.clients, k.c.session)
		k.l.settleSoon()
	}
	k.c.end()
}
