package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"quire/internal/db"
	"quire/internal/problem"
	"quire/internal/run"
)

// A LineageConfig says where the lineage of runs is exported to, as events of
// OpenLineage: to an address, to a file, or to both.
type LineageConfig struct {
	// URL takes each event by POST, such as https://marquez.example.org/api/v1/lineage.
	URL string `yaml:"url"`
	// Key is a reference, env:NAME or file:/path, to what is sent as a bearer token.
	Key string `yaml:"key"`
	// File has one event a line added to it.
	File string `yaml:"file"`
	// Namespace is that of the jobs and datasets. Default quire.
	Namespace string `yaml:"namespace"`
}

func (c *LineageConfig) on() bool { return c.URL != "" || c.File != "" }

func (c *LineageConfig) validate() (wrong []string) {
	if c.URL != "" {
		if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			wrong = append(wrong, "lineage.url: want an address such as https://marquez.example.org/api/v1/lineage")
		}
	}
	if c.Key != "" && !isReference(c.Key) {
		wrong = append(wrong, "lineage.key: want a reference, env:NAME or file:/path")
	}
	if c.File != "" && !filepath.IsAbs(c.File) {
		wrong = append(wrong, "lineage.file: want a path from the root")
	}
	return wrong
}

// Bounds of exporting.
const (
	lineageEvery   = 2 * time.Second
	lineageLease   = 2 * time.Minute
	lineageAtOnce  = 50
	lineageTries   = 24 // some nine hours
	lineageTimeout = 30 * time.Second
)

// An exporter sends the lineage of runs that have ended. What cannot be sent is
// tried again, later and later; several servers may have one over one database.
type exporter struct {
	cfg     LineageConfig
	records *db.DB
	base    func() string // address of the server
	client  *http.Client
	key     func() (string, error)
	log     *slog.Logger
	now     func() time.Time
	stop    context.CancelFunc
	done    sync.WaitGroup
}

func newExporter(cfg LineageConfig, records *db.DB, base func() string, log *slog.Logger) *exporter {
	if cfg.Namespace == "" {
		cfg.Namespace = "quire"
	}
	return &exporter{
		cfg: cfg, records: records, base: base, key: secretOf(cfg.Key), log: log, now: time.Now,
		client: &http.Client{Timeout: lineageTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// start exports what is due until end.
func (e *exporter) start(ctx context.Context) {
	ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	e.done.Go(func() {
		tick := time.NewTicker(lineageEvery)
		defer tick.Stop()
		for {
			if err := e.round(ctx); err != nil && ctx.Err() == nil {
				e.log.LogAttrs(ctx, slog.LevelError, "looking for lineage to export", slog.String("error", err.Error()))
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// end ends the exporting; twice, or before start, is no error.
func (e *exporter) end() {
	if e == nil {
		return
	}
	if e.stop != nil {
		e.stop()
	}
	e.done.Wait()
}

// round exports once what is due.
func (e *exporter) round(ctx context.Context) error {
	now := e.now().UTC()
	ids, tries, err := e.records.TakeLineage(ctx, now, now.Add(lineageLease), lineageAtOnce)
	if err != nil {
		return err
	}
	for i, id := range ids {
		err := e.export(ctx, id)
		if err != nil && ctx.Err() != nil {
			return ctx.Err() // it is due again after the lease
		}
		again := time.Time{}
		if err != nil && !problem.Is(err, problem.NotFound) {
			e.log.LogAttrs(ctx, slog.LevelWarn, "the lineage of a run is not exported yet", slog.String("run_id", id), slog.Int("tries", tries[i]), slog.String("error", err.Error()))
			if tries[i] < lineageTries {
				again = now.Add(min(15*time.Second<<min(tries[i]-1, 8), time.Hour/2))
			}
		}
		if err := e.records.PutLineage(ctx, id, again); err != nil {
			return err
		}
	}
	return nil
}

func (e *exporter) export(ctx context.Context, id string) error {
	r, err := e.records.Run(ctx, id)
	if err != nil {
		return err
	}
	uses, err := e.records.LineageOfRun(ctx, id)
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	for _, event := range run.OpenLineage(r, uses, run.OpenLineageConfig{Namespace: e.cfg.Namespace, Server: strings.TrimSuffix(e.base(), "/")}) {
		text, err := json.Marshal(event)
		if err != nil {
			return err
		}
		if e.cfg.URL != "" {
			if err := e.post(ctx, text); err != nil {
				return err
			}
		}
		lines.Write(append(text, '\n'))
	}
	if e.cfg.File == "" {
		return nil
	}
	return problem.Wrap(appendFile(e.cfg.File, lines.Bytes()), "adding to %s", e.cfg.File)
}

// appendFile adds lines to a file in one write.
func appendFile(name string, lines []byte) error {
	file, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "opening it")
	}
	_, err = file.Write(lines)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return problem.WrapAs(problem.Unavailable, err, "writing it")
}

func (e *exporter) post(ctx context.Context, event []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.cfg.URL, bytes.NewReader(event))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if e.cfg.Key != "" {
		key, err := e.key()
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+key)
	}
	answer, err := e.client.Do(req)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "sending lineage")
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode >= 300 {
		return problem.New(problem.Unavailable, "sending lineage: the receiver answered %s", answer.Status)
	}
	return nil
}
