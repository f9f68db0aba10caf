package duckdb

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/query/frame"
	"quire/internal/query/worker"
)

// sampleRows is how many events the sample has.
const sampleRows = "5000000"

// pick is a number from 0 to just below 1 that only the row and a salt decide.
func pick(row, salt string) string {
	return "((hash(" + row + " * 31 + " + salt + ") >> 11)::DOUBLE / 9007199254740992)"
}

// samplePart is one file of the sample.
type samplePart struct{ name, text string }

// sampleParts are the tables of the sample, in the order in which they are made:
// playback is the last, and says that all are there. Every value follows from
// its row's number alone, so that each machine has the same.
func sampleParts() []samplePart {
	return []samplePart{
		{"countries", `FROM (VALUES ('AR','Argentina','Americas'),('AU','Australia','Asia-Pacific'),('BR','Brazil','Americas'),('CA','Canada','Americas'),
			('DE','Germany','Europe'),('ES','Spain','Europe'),('FR','France','Europe'),('GB','United Kingdom','Europe'),('IN','India','Asia-Pacific'),
			('IT','Italy','Europe'),('JP','Japan','Asia-Pacific'),('KR','South Korea','Asia-Pacific'),('MX','Mexico','Americas'),('NL','Netherlands','Europe'),
			('PL','Poland','Europe'),('SE','Sweden','Europe'),('TR','Turkey','Europe'),('US','United States','Americas'),('ZA','South Africa','Africa')) t(country, name, region)`},
		{"devices", `FROM (VALUES ('tv','Television','living room'),('mobile','Phone','hand'),('tablet','Tablet','hand'),('browser','Browser','desk'),('console','Game console','living room')) t(device_type, name, place)`},
		{"titles", `SELECT i + 1 AS title_id,
			(['Quiet','Northern','Last','Hidden','Paper','Silver','Second','Long','Glass','Open'])[1 + (hash(i * 7) % 10)::INT] || ' ' ||
			(['River','Winter','Signal','Garden','Harbour','Letter','Summer','Bridge','Mirror','Road'])[1 + (hash(i * 11) % 10)::INT] || ' ' || (i + 1) AS title,
			(['film','series','documentary'])[1 + (hash(i * 13) % 3)::INT] AS kind,
			(['drama','comedy','crime','science fiction','family','history'])[1 + (hash(i * 17) % 6)::INT] AS genre,
			(1990 + hash(i * 19) % 29)::INTEGER AS release_year, (22 + hash(i * 23) % 130)::INTEGER AS minutes
			FROM range(2000) r(i)`},
		{"profiles", `SELECT i + 1 AS profile_id,
			(['US','US','US','US','GB','BR','MX','DE','FR','FR','CA','IN','JP','AU','ES','IT','NL','SE','KR','AR','PL','TR','ZA'])[1 + (hash(i * 29) % 23)::INT] AS country,
			(['basic','standard','standard','premium'])[1 + (hash(i * 37) % 4)::INT] AS plan,
			DATE '2012-01-01' + (hash(i * 41) % 2250)::INTEGER AS created
			FROM range(200000) r(i)`},
		{"playback", `SELECT TIMESTAMP '2018-04-01' + to_milliseconds((i * (91::BIGINT * 86400000 / ` + sampleRows + `))::BIGINT + (hash(i * 43) % 1500)::BIGINT) AS ts,
			p AS profile_id, (floor(power(` + pick("i", "2") + `, 3) * 2000))::BIGINT + 1 AS title_id,
			(['tv','tv','tv','tv','mobile','mobile','tablet','browser','browser','console'])[1 + (hash(i * 47) % 10)::INT] AS device_type,
			(['US','US','US','US','GB','BR','MX','DE','FR','FR','CA','IN','JP','AU','ES','IT','NL','SE','KR','AR','PL','TR','ZA'])[1 + (hash((p - 1) * 29) % 23)::INT] AS country,
			(30 + floor(power(` + pick("i", "5") + `, 2) * 7170))::INTEGER AS seconds
			FROM (SELECT i, (floor(power(` + pick("i", "1") + `, 1.5) * 200000))::BIGINT + 1 AS p FROM range(` + sampleRows + `) r(i))`},
	}
}

// coming is a sample that is not there yet.
type coming struct {
	wanted chan struct{} // has an element when a statement waits for it
	over   chan struct{} // is closed when it is there, or does not come
}

// cameSince reports whether a statement that found no table of the sample is to
// be tried again: it waits for the sample, where it is coming.
func (s *Source) cameSince(ctx context.Context, f *frame.Fault) bool {
	s.mu.Lock()
	sample := s.sample
	s.mu.Unlock()
	if f == nil || f.Kind != "not found" || sample == nil ||
		!slices.ContainsFunc(sampleParts(), func(p samplePart) bool { return strings.Contains(f.Message, p.name) }) {
		return false
	}
	select {
	case sample.wanted <- struct{}{}:
	default:
	}
	select {
	case <-sample.over:
		return true
	case <-ctx.Done():
		return false
	}
}

// MakeSample makes the sample's files where they are missing: after a while, or
// as soon as a statement wants them. It takes some seconds, in a process of its
// own; what it began and did not end is made again.
func (s *Source) MakeSample(ctx context.Context, after time.Duration) error {
	if s.cfg.Sample == "" {
		return nil
	}
	if err := os.MkdirAll(s.cfg.Sample, 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making room for the sample")
	}
	parts := sampleParts()
	if _, err := os.Stat(filepath.Join(s.cfg.Sample, parts[len(parts)-1].name+".parquet")); err == nil {
		return nil
	}
	sample := &coming{wanted: make(chan struct{}, 1), over: make(chan struct{})}
	s.mu.Lock()
	s.sample = sample
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.sample = nil
		s.mu.Unlock()
		close(sample.over)
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-sample.wanted:
	case <-time.After(after):
	}
	began := time.Now()
	for _, part := range parts {
		if err := s.makePart(ctx, part); err != nil {
			return problem.Wrap(err, "making %s of the sample", part.name)
		}
	}
	s.cfg.Log.LogAttrs(ctx, slog.LevelInfo, "sample data made", slog.Int64("dur_ms", time.Since(began).Milliseconds()))
	return s.pool.End("")
}

func (s *Source) makePart(ctx context.Context, part samplePart) error {
	// DuckDB's own temporary name is one more file in this folder, never a part.
	making := filepath.Join(s.cfg.Sample, "."+part.name+".making")
	ask := frame.Ask{What: "query", SQL: "COPY (" + part.text + ") TO '" + strings.ReplaceAll(making, "'", "''") + "' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 250000)"}
	done, err := s.pool.Do(ctx, "", ask, nil, worker.Bytes{Writer: io.Discard})
	if err == nil && done.Fault != nil {
		err = s.pool.FaultError(done.Fault)
	}
	if err != nil {
		return err
	}
	return problem.WrapAs(problem.Unavailable, os.Rename(making, filepath.Join(s.cfg.Sample, part.name+".parquet")), "keeping it")
}
