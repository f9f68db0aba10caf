package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// measureTable compares kg.sql with pandas.read_sql on the same PostgreSQL.
func measureTable(ctx context.Context, cfg config) (result, error) {
	dir, err := os.MkdirTemp(cfg.dir, "table-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	base, err := os.MkdirTemp("/tmp", "quire-bench-pg-") // PostgreSQL may run as another user
	if err != nil {
		return result{}, err
	}
	defer func() { _ = exec.Command("tools/postgres.sh", "stop", base).Run() }()
	out, err := exec.CommandContext(ctx, "tools/postgres.sh", "start", base).Output()
	if err != nil {
		return result{}, fmt.Errorf("starting PostgreSQL (tools/test-env.sh installs it): %w", err)
	}
	address := strings.TrimSpace(string(out))
	file := filepath.Join(cfg.dir, "table.yaml")
	if err := os.WriteFile(file, []byte("connections:\n  pg:\n    engine: postgres\n    dsn: "+address+"\n"), 0o600); err != nil {
		return result{}, err
	}
	quire, err := serveQuire(ctx, cfg, dir, "--config", file)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = quire.end() }()
	ours, theirs, err := quire.frames(ctx, cfg, "postgres", address, "pg")
	if err != nil {
		return result{}, err
	}
	times := float64(theirs) / float64(ours)
	return result{
		quire: sample{wall: ours, peak: quire.memory("RssAnon")}, peer: sample{wall: theirs},
		figure: fmt.Sprintf("%.1fx pandas.read_sql", times), met: times >= 5,
	}, nil
}

// statements starts a server, warms its DuckDB and calls f.
func statements(ctx context.Context, cfg config, f func(s *service) (result, error)) (result, error) {
	dir, err := os.MkdirTemp(cfg.dir, "statements-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir)
	quire, err := serveQuire(ctx, cfg, dir)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = quire.end() }()
	id, err := quire.execute(ctx, "SELECT 1")
	if err == nil {
		_, err = quire.get(ctx, "api/queries/"+id+"/result?format=arrow")
	}
	if err != nil {
		return result{}, err
	}
	return f(quire)
}

// execute sends a statement to the default connection and returns its id.
func (s *service) execute(ctx context.Context, statement string) (string, error) {
	res, err := s.open(ctx, http.MethodPost, "api/queries", map[string]string{"statement": statement})
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var q struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&q); err != nil || res.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("POST api/queries: %s: %w", res.Status, err)
	}
	return q.ID, nil
}

// measureFirst is from sending a statement to the first byte of its result.
func measureFirst(ctx context.Context, cfg config) (result, error) {
	return statements(ctx, cfg, func(s *service) (result, error) {
		var all []time.Duration
		for range cfg.runs {
			start := time.Now()
			id, err := s.execute(ctx, "SELECT range AS a, range * 2 AS b FROM range(30000000)")
			if err != nil {
				return result{}, err
			}
			res, err := s.open(ctx, http.MethodGet, "api/queries/"+id+"/result?format=arrow", nil)
			if err != nil {
				return result{}, err
			}
			_, err = res.Body.Read(make([]byte, 1))
			all = append(all, time.Since(start))
			res.Body.Close()
			if err != nil {
				return result{}, err
			}
			if _, err := s.post(ctx, "api/queries/"+id+"/cancel"); err != nil {
				return result{}, err
			}
		}
		slices.Sort(all)
		took := all[len(all)/2]
		return result{quire: sample{wall: took}, figure: seconds(took), met: took <= 100*time.Millisecond}, nil
	})
}

// post sends nothing to a path and returns the answer's state.
func (s *service) post(ctx context.Context, path string) (string, error) {
	res, err := s.open(ctx, http.MethodPost, path, nil)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var q struct{ State string }
	return q.State, json.NewDecoder(res.Body).Decode(&q)
}

// measureCancel is from asking for the end of a statement that computes to the
// answer that it has ended.
func measureCancel(ctx context.Context, cfg config) (result, error) {
	return statements(ctx, cfg, func(s *service) (result, error) {
		var all []time.Duration
		for range cfg.runs {
			id, err := s.execute(ctx, "SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b")
			if err != nil {
				return result{}, err
			}
			select {
			case <-ctx.Done():
				return result{}, ctx.Err()
			case <-time.After(500 * time.Millisecond): // it computes
			}
			start := time.Now()
			state, err := s.post(ctx, "api/queries/"+id+"/cancel")
			all = append(all, time.Since(start))
			if err != nil || state != "cancelled" {
				return result{}, fmt.Errorf("cancelling %s: it is %s, %w", id, state, err)
			}
		}
		slices.Sort(all)
		took := all[len(all)/2]
		return result{quire: sample{wall: took}, figure: seconds(took), met: took <= 200*time.Millisecond}, nil
	})
}

// measureGateway is the most memory of its own, which the pages of the program's
// file are not, that the server has while a large result is made and read.
func measureGateway(ctx context.Context, cfg config) (result, error) {
	return statements(ctx, cfg, func(s *service) (result, error) {
		before := s.memory("RssAnon")
		stop, peak := make(chan struct{}), make(chan int64)
		go func() {
			most := before
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					peak <- most
					return
				case <-tick.C:
					most = max(most, s.memory("RssAnon"))
				}
			}
		}()
		start := time.Now()
		id, err := s.execute(ctx, "SELECT range AS a, range * 2 AS b, range * 0.5 AS c FROM range(60000000)")
		var size int64
		if err == nil {
			size, err = s.get(ctx, "api/queries/"+id+"/result?format=arrow")
		}
		took := time.Since(start)
		close(stop)
		most := <-peak
		if err != nil {
			return result{}, err
		}
		return result{
			quire:  sample{wall: took, peak: most},
			figure: fmt.Sprintf("%s, %s of it before, at %.1f GB", mebibytes(most), mebibytes(before), float64(size)/1e9),
			met:    most <= 64<<20 && size > 1<<30,
		}, nil
	})
}
