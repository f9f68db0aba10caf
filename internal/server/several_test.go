package server_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"quire/internal/db/dbtest"
)

// TestTwoServersOneDatabase: two servers share a PostgreSQL database and a
// directory, while a schedule fires every second. One of them at a time is
// killed, and the other goes on: every second is recorded once and ran once.
func TestTwoServersOneDatabase(t *testing.T) {
	if os.Getenv("QUIRE_TEST_POSTGRES") == "" {
		return // make test sets it
	}
	shared := memoryDir(t)
	config := []string{"database: " + dbtest.Database(t, filepath.Join(shared, "records")), "shared: " + shared}
	a, b := newVictimIn(t, "", config...), newVictimIn(t, "", config...)
	b.witness = a.witness
	a.start()
	b.start()
	a.addRunNotebooks()
	status, _, text := b.ask(t.Context(), http.MethodPost, "/api/schedules", nil, map[string]string{"text": everySecond}, nil)
	if status != http.StatusCreated {
		t.Fatalf("applying: %d %s", status, text)
	}
	begin := time.Now()
	const kills = 6
	for n := range kills {
		<-time.After(time.Duration(700+n*170%1000) * time.Millisecond)
		killed := []*victim{a, b}[n%2]
		killed.kill()
		<-time.After(time.Duration(n%3) * 900 * time.Millisecond)
		killed.start()
	}
	<-time.After(1200 * time.Millisecond)
	end := time.Now() // before it is asked for: the answer may take a second
	status, _, text = a.ask(t.Context(), http.MethodPost, "/api/schedules/tick/pause", nil, map[string]string{"reason": "the end"}, nil)
	if status != http.StatusOK {
		t.Fatalf("pausing: %d %s", status, text)
	}
	fires := b.settleFires(3 * time.Minute)
	b.judgeFires(fires, begin, end)
	t.Logf("%d kills, %d fires", kills, len(fires))
}
