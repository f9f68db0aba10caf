package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"quire/internal/session/ydoc"
)

// A liveClient has a live notebook open through the platform.
type liveClient struct {
	t    *testing.T
	conn *websocket.Conn
	mu   sync.Mutex
	doc  *ydoc.Doc
}

func (v *victim) liveNotebook(path string) *liveClient {
	v.t.Helper()
	var s struct{ FileID, SessionID string }
	if status, _, text := v.ask(v.t.Context(), "PUT", "/user/ann/api/collaboration/session/"+path, nil, map[string]string{"type": "notebook", "format": "json"}, &s); status > 201 {
		v.t.Fatalf("opening %s: %d %s", path, status, text)
	}
	address := "ws" + strings.TrimPrefix(*v.url.Load(), "http") + "/user/ann/api/collaboration/room/json:notebook:" + s.FileID + "?sessionId=" + s.SessionID
	conn, res, err := websocket.Dial(v.t.Context(), address, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"token " + harnessToken}}})
	if err != nil {
		v.t.Fatal(err)
	}
	if res.Body != nil {
		_ = res.Body.Close()
	}
	conn.SetReadLimit(1 << 20)
	c := &liveClient{t: v.t, conn: conn, doc: ydoc.New(77)}
	c.doc.Map("meta")
	c.doc.Array("cells")
	c.doc.Updated = func(update []byte, origin any) {
		if origin == nil {
			c.send(ydoc.Message{Kind: ydoc.Update, Data: update})
		}
	}
	var reading sync.WaitGroup
	reading.Go(c.read)
	v.t.Cleanup(func() {
		_ = conn.CloseNow()
		reading.Wait()
	})
	c.send(ydoc.Message{Kind: ydoc.Step1, Data: c.doc.StateVector()})
	c.until("the notebook", func() bool { return c.doc.Array("cells").Len() > 0 })
	return c
}

func (c *liveClient) send(m ydoc.Message) {
	if err := c.conn.Write(c.t.Context(), websocket.MessageBinary, m.Frame()); err != nil {
		c.t.Error(err)
	}
}

func (c *liveClient) read() {
	for {
		_, frame, err := c.conn.Read(c.t.Context())
		if err != nil {
			return
		}
		m, err := ydoc.ReadMessage(frame)
		if err == nil && (m.Kind == ydoc.Step2 || m.Kind == ydoc.Update) {
			c.mu.Lock()
			err = c.doc.Apply(m.Data, "server")
			c.mu.Unlock()
		}
		if err != nil {
			c.t.Error(err)
		}
	}
}

// write replaces the text of a cell.
func (c *liveClient) write(cell int, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doc.Transact(nil, func() { c.doc.Array("cells").Map(cell).Text("source").Replace(text) })
}

func (c *liveClient) untilText(cell int, want string) {
	c.t.Helper()
	c.until(fmt.Sprintf("cell %d is %q", cell, want), func() bool { return c.doc.Array("cells").Map(cell).Text("source").String() == want })
}

func (c *liveClient) until(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		done := ok()
		c.mu.Unlock()
		if done {
			return
		}
	}
	c.t.Fatalf("waited two minutes: %s", what)
}

// A plainClient is one of Jupyter's: it knows no versions.
type plainClient struct {
	v    *victim
	name string
}

type plainBook struct {
	Cells    []map[string]any `json:"cells"`
	Metadata map[string]any   `json:"metadata"`
	Format   int              `json:"nbformat"`
	Minor    int              `json:"nbformat_minor"`
}

func (p plainClient) load() (nb plainBook) {
	p.v.t.Helper()
	var m struct{ Content plainBook }
	if status, _, text := p.v.ask(p.v.t.Context(), "GET", "/user/ann/api/contents/live.ipynb", http.Header{"User-Agent": {p.name}}, nil, &m); status != 200 {
		p.v.t.Fatalf("loading: %d %s", status, text)
	}
	return m.Content
}

func (p plainClient) save(nb plainBook) (int, string) {
	p.v.t.Helper()
	status, _, text := p.v.ask(p.v.t.Context(), "PUT", "/user/ann/api/contents/live.ipynb", http.Header{"User-Agent": {p.name}}, map[string]any{"type": "notebook", "format": "json", "content": nb}, nil)
	return status, text
}

func (p plainClient) must(nb plainBook) {
	p.v.t.Helper()
	if status, text := p.save(nb); status > 201 {
		p.v.t.Fatalf("saving: %d %s", status, text)
	}
}

// untilSaved loads the notebook until a cell is what somebody wrote.
func (p plainClient) untilSaved(cell int, text string) plainBook {
	p.v.t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if nb := p.load(); nb.Cells[cell]["source"] == text {
			return nb
		}
	}
	p.v.t.Fatalf("%q never came to the file", text)
	return plainBook{}
}

// TestPlainSaveOverALiveNotebook lets a plain Jupyter client save through the
// platform a notebook that somebody has open in their notebook server, which is
// another process: the save is merged by cell against the body that the client
// last saw, or refused with both sides kept.
func TestPlainSaveOverALiveNotebook(t *testing.T) {
	t.Parallel()
	v := newVictimIn(t, "", "compute: process")
	v.patience = 2 * time.Minute
	v.start()
	t.Cleanup(v.endNotebookServer)
	cell := func(id string) map[string]any {
		return map[string]any{"cell_type": "code", "id": id, "metadata": map[string]any{}, "execution_count": nil, "outputs": []any{}, "source": id}
	}
	plainClient{v, "seed"}.must(plainBook{Cells: []map[string]any{cell("one"), cell("two"), cell("three")}, Metadata: map[string]any{}, Format: 4, Minor: 5})
	plain := plainClient{v, "plain"}
	mine := plain.load()
	live := v.liveNotebook("live.ipynb")

	live.write(1, "two, live") // is not in the file yet when the plain client saves
	mine.Cells[0]["source"] = "one, plain"
	plain.must(mine)
	live.untilText(0, "one, plain")
	live.untilText(1, "two, live")
	mine.Cells[0]["source"] = "one, plain again" // it still has the first two
	plain.must(mine)
	live.untilText(0, "one, plain again")
	live.untilText(1, "two, live")

	// Who puts an older text back means it, when they have seen the newer one.
	plainClient{v, "look"}.untilSaved(1, "two, live")
	live.write(2, "three, live")
	mine = plain.untilSaved(2, "three, live")
	mine.Cells[2]["source"] = "three"
	plain.must(mine)
	live.untilText(2, "three")

	// Both write without a pause, into cells of their own.
	const rounds = 15
	var typing sync.WaitGroup
	typing.Go(func() {
		for i := range rounds * 4 {
			live.write(1, fmt.Sprint("typed ", i))
			time.Sleep(20 * time.Millisecond) // a person's pace, so that saves fall between
		}
	})
	for i := range rounds {
		mine.Cells[0]["source"] = fmt.Sprint("saved ", i)
		plain.must(mine)
	}
	typing.Wait()
	live.untilText(0, fmt.Sprint("saved ", rounds-1))
	live.untilText(1, fmt.Sprint("typed ", rounds*4-1))

	live.write(0, "one, live")
	plainClient{v, "look"}.untilSaved(0, "one, live")
	mine.Cells[0]["source"] = "one, too late"
	status, text := plain.save(mine)
	if status != http.StatusConflict || !strings.Contains(text, "the text of cell one") {
		t.Errorf("a save over what somebody else wrote: %d %s", status, text)
	}
	live.untilText(0, "one, live")
	var versions struct {
		Versions []struct {
			Number int64
			Cause  string
		}
	}
	if status, _, text := v.ask(t.Context(), "GET", "/api/versions/users/ann/live.ipynb", nil, nil, &versions); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	found := false
	for _, one := range versions.Versions {
		var raw []byte
		if one.Cause == "refused" {
			v.ask(t.Context(), "GET", fmt.Sprintf("/api/versions/users/ann/live.ipynb?number=%d", one.Number), nil, nil, &raw)
			found = found || strings.Contains(string(raw), "one, too late") && json.Valid(raw)
		}
	}
	if !found {
		t.Errorf("what was refused is not among the versions: %+v", versions)
	}
}
