//go:build trino

package trino_test

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"

	"quire/internal/query"
	"quire/internal/query/querytest"
	"quire/internal/query/trino"
)

const forever = "SELECT count(*) FROM UNNEST(sequence(1, 10000)) a(i) CROSS JOIN UNNEST(sequence(1, 10000)) b(j) CROSS JOIN UNNEST(sequence(1, 10000)) c(k) WHERE i * j * k < 0"

// TestRealTrino runs on the Trino that QUIRE_TEST_TRINO names.
func TestRealTrino(t *testing.T) {
	s, err := trino.New(trino.Config{DSN: os.Getenv("QUIRE_TEST_TRINO")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	querytest.Run(t, querytest.Subject{
		Source: s, User: "ann", NoLoads: true,
		Series:  "SELECT n FROM UNNEST(sequence(1, 1000)) a(k) CROSS JOIN UNNEST(sequence(1, 1000)) b(n)",
		Forever: forever,
		Running: func(t *testing.T) int { return running(t, s) },
	})
	t.Run("Deck", func(t *testing.T) { testDeck(t, s) })
	t.Run("CancelSoon", func(t *testing.T) { testCancelSoon(t, s) })
}

// testDeck executes the statements of the deck on rows as the sample has them.
func testDeck(t *testing.T, s *trino.Source) {
	do := func(text string, values map[string]string) string {
		var out querytest.Collected
		if _, err := run(t, t.Context(), s, text, values, query.Statement{}, &out); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if out.Bytes.Len() == 0 {
			return ""
		}
		rows, _ := json.Marshal(out.Page(t).Rows)
		return string(rows)
	}
	do("DROP TABLE IF EXISTS playback", nil)
	do("DROP TABLE IF EXISTS vid_agg_fr_2018_05_08", nil)
	do(`CREATE TABLE playback AS SELECT * FROM (VALUES (TIMESTAMP '2018-05-08 12:00:00', 'TV', 'FR', 1800), (TIMESTAMP '2018-05-08 13:00:00', 'phone', 'FR', 3600),
		(TIMESTAMP '2018-05-08 14:00:00', 'TV', 'FR', 5400)) AS t (ts, device_type, country, seconds)`, nil)
	got := do(`CREATE TABLE vid_agg_fr_2018_05_08 AS
(
  SELECT
    device_type,
    CAST(ts AS DATE) AS day,
    count(*) AS plays,
    sum(seconds) / 3600.0 AS hours
  FROM playback
  WHERE country = :country
    AND ts >= TIMESTAMP '2018-05-08'
    AND ts < TIMESTAMP '2018-05-08' + INTERVAL '1' DAY * :days
  GROUP BY device_type, CAST(ts AS DATE)
)`, map[string]string{"country": `"FR"`, "days": "7"})
	if got != "" {
		t.Errorf("making a table gave %s", got)
	}
	if got, want := do("SELECT device_type, day, plays, CAST(hours AS DOUBLE) AS hours FROM vid_agg_fr_2018_05_08 ORDER BY 1", nil), `[["TV","2018-05-08",2,2],["phone","2018-05-08",1,1]]`; got != want {
		t.Errorf("the table has %s, want %s", got, want)
	}
}

// testCancelSoon says how soon a statement that runs has ended in Trino.
func testCancelSoon(t *testing.T, s *trino.Source) {
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := run(t, ctx, s, forever, nil, query.Statement{}, &querytest.Collected{})
			ended <- err
		}()
		for running(t, s) == 0 {
			time.Sleep(20 * time.Millisecond) //nolint:forbidigo // Trino itself is asked
		}
		began := time.Now()
		cancel()
		if err := <-ended; err == nil {
			t.Error("it ended by itself")
		}
		returned := time.Since(began)
		for running(t, s) > 0 {
			time.Sleep(5 * time.Millisecond) //nolint:forbidigo // Trino itself is asked
		}
		t.Logf("cancelled after %v, and Trino runs it no more after %v", returned.Round(time.Millisecond), time.Since(began).Round(time.Millisecond))
	}
}

func running(t *testing.T, s *trino.Source) int {
	var out querytest.Collected
	if _, err := run(t, t.Context(), s, "SELECT query FROM system.runtime.queries WHERE state NOT IN ('FINISHED', 'FAILED') AND query LIKE '%10000%' AND query NOT LIKE '%runtime%'", nil, query.Statement{}, &out); err != nil {
		t.Fatal(err)
	}
	return len(out.Page(t).Rows)
}
