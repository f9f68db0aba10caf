package server

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"path"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/kernel"
	"quire/internal/nbtemplate"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/query/duckdb"
	"quire/internal/run"
)

// starterFiles are the templates that come with Quire, one for each data role.
// What a template says of itself is in its notebook's metadata, under
// quire.template. Those in bare stand for those of their names where there is no
// DuckDB, and so no sample data to read.
//
//go:embed starters/*.ipynb starters/bare/*.ipynb
var starterFiles embed.FS

// starters are the publications of the templates that come with Quire, with the
// bytes of each. bare takes those that read no sample data.
func starters(bare bool) ([]nbtemplate.Publication, [][]byte, error) {
	entries, err := starterFiles.ReadDir("starters")
	if err != nil {
		return nil, nil, err
	}
	var all []nbtemplate.Publication
	var sources [][]byte
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		source, err := starterFiles.ReadFile("starters/" + e.Name())
		if bare {
			if plain, wrong := starterFiles.ReadFile("starters/bare/" + e.Name()); wrong == nil {
				source = plain
			}
		}
		if err != nil {
			return nil, nil, err
		}
		nb, err := notebook.Parse(source)
		if err != nil {
			return nil, nil, problem.Wrap(err, "reading %s", e.Name())
		}
		meta := nb.Metadata.Object("quire").Object("template")
		all = append(all, nbtemplate.Publication{
			Name: strings.TrimSuffix(path.Base(e.Name()), ".ipynb"), Title: meta.String("title"), Description: meta.String("description"),
			Roles: texts(meta["roles"]), Tags: texts(meta["tags"]), Note: meta.String("note"),
		})
		sources = append(sources, source)
	}
	return all, sources, nil
}

func texts(v any) []string {
	list, _ := v.([]any)
	var all []string
	for _, one := range list {
		if text, ok := one.(string); ok {
			all = append(all, text)
		}
	}
	return all
}

// publishStarters publishes the templates that come with Quire. One that is
// there already as it is now stays; one of somebody else's stays too.
func (s *Server) publishStarters(ctx context.Context) error {
	all, sources, err := starters(!duckdb.Embedded())
	for i, p := range all {
		_, one := s.templates.PublishBuiltin(ctx, p, sources[i])
		err = errors.Join(err, problem.Wrap(one, "publishing the template %s", p.Name))
	}
	return err
}

// starterPoll is how often a starter's run is looked at.
const starterPoll = 2 * time.Second

// runStarters runs each template that comes with Quire once, one after another
// and behind everything else, so that the gallery shows what they give. It ends
// when the function that it returns is called, or all have run.
func (s *Server) runStarters(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := (kernel.Finder{}).Find("python3"); err != nil {
			return // runSample has said so
		}
		all, _, err := starters(!duckdb.Embedded())
		for i := 0; err == nil && i < len(all); i++ {
			err = s.runStarter(ctx, all[i].Name)
		}
		if err != nil && ctx.Err() == nil {
			s.log.LogAttrs(ctx, slog.LevelWarn, "the templates of the sample are not run", slog.String("error", err.Error()))
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

func (s *Server) runStarter(ctx context.Context, name string) error {
	u := auth.User{Name: s.cfg.User, Admin: true}
	r, err := s.runs.Submit(ctx, u, run.Request{Template: name, Tags: []string{"sample"}, Priority: -50, IdempotencyKey: "the first run of the template"})
	if err != nil {
		return err
	}
	tick := time.NewTicker(starterPoll)
	defer tick.Stop()
	for !r.State.Ended() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if r, err = s.runs.Get(ctx, u, r.ID); err != nil {
			return err
		}
	}
	return nil
}
