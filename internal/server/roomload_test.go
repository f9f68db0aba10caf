package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"quire/internal/session/ydoc"
)

// ask sends a JSON request to the server at url.
func askJSON(t *testing.T, method, url, body string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "token "+harnessToken)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode > 299 {
		err = fmt.Errorf("%s", res.Status)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", method, url, err, text)
	}
}

// TestManyRoomSockets connects 200 WebSockets to one notebook of the real binary
// and changes it 20 times a second: each gets each change, and what that takes of
// the processor is bounded, since the time that passes is the machine's.
func TestManyRoomSockets(t *testing.T) {
	url := startQuire(t, nil, "notebook", t.TempDir(), "--listen", "127.0.0.1:0",
		"--data", filepath.Join(t.TempDir(), "data"), "--user", "ann")
	askJSON(t, "PUT", url+"api/contents/a.ipynb", `{"type":"notebook","format":"json","content":{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}}`, nil)
	var session struct{ FileID, SessionID string }
	askJSON(t, "PUT", url+"api/collaboration/session/a.ipynb", `{"type":"notebook","format":"json"}`, &session)
	room := "ws" + strings.TrimPrefix(url, "http") + "api/collaboration/room/json:notebook:" + session.FileID +
		"?sessionId=" + session.SessionID + "&token=" + harnessToken
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	connect := func() *websocket.Conn {
		conn, _, err := websocket.Dial(ctx, room, nil)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(1 << 20)
		return conn
	}
	const clients, changes = 200, 60
	var mu sync.Mutex
	var lags []time.Duration
	var wg sync.WaitGroup
	for range clients {
		conn := connect()
		wg.Go(func() {
			defer conn.CloseNow() //nolint:errcheck // the server is ended next
			for got := 0; got < changes; {
				_, frame, err := conn.Read(ctx)
				if err != nil {
					t.Errorf("after %d changes: %v", got, err)
					return
				}
				_, rest, ok := bytes.Cut(frame, []byte("at="))
				if !ok {
					continue
				}
				at, _, _ := bytes.Cut(rest, []byte(";"))
				ns, _ := strconv.ParseInt(string(at), 10, 64)
				mu.Lock()
				lags = append(lags, time.Since(time.Unix(0, ns)))
				mu.Unlock()
				got++
			}
		})
	}
	sender := connect()
	defer sender.CloseNow() //nolint:errcheck // the server is ended next
	doc := ydoc.New(77)
	doc.Updated = func(update []byte, _ any) {
		if err := sender.Write(ctx, websocket.MessageBinary, ydoc.Message{Kind: ydoc.Update, Data: update}.Frame()); err != nil {
			t.Error(err)
		}
	}
	before := processorTime(t, url)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range changes {
		<-tick.C
		doc.Map("meta").Set("out", fmt.Sprintf("at=%d;", time.Now().UnixNano()))
	}
	wg.Wait()
	slices.Sort(lags)
	if len(lags) != clients*changes {
		t.Fatalf("%d changes came, want %d", len(lags), clients*changes)
	}
	each := (processorTime(t, url) - before) / (clients * changes)
	t.Logf("%d WebSockets, 20 changes a second: lag p50 %v, p99 %v; %v of the processor for each", clients, lags[len(lags)/2], lags[len(lags)*99/100], each)
	if each > 400*time.Microsecond {
		t.Errorf("a change takes %v of the processor for each WebSocket", each)
	}
}

// processorTime is what a server has used of the processor.
func processorTime(t *testing.T, url string) time.Duration {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "token "+harnessToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\nprocess_cpu_seconds_total ")
	line, _, _ := strings.Cut(rest, "\n")
	seconds, err := strconv.ParseFloat(line, 64)
	if err != nil {
		t.Fatalf("the metrics, %d, do not say it: %v", res.StatusCode, err)
	}
	return time.Duration(seconds * float64(time.Second))
}
