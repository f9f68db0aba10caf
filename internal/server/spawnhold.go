package server

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"quire/internal/api"
	"quire/internal/contents"
)

var _ api.Live = (*spawner)(nil)

// Times of a hold: a live document that is large takes its time to be written.
const (
	holdAsk     = 12 * time.Second
	releaseAsk  = 5 * time.Second
	maxHoldText = 4 << 10 // bytes of an answer
)

// Hold implements api.Live: a person's live documents are in their notebook
// server, if it runs. One that does not answer holds nothing, and its documents
// find the save as any change of their files from outside.
func (s *spawner) Hold(ctx context.Context, path string) func(contents.Hash) {
	nothing := func(contents.Hash) {}
	p, below := s.running(path)
	if p == nil || !p.answers(ctx) {
		return nothing
	}
	id, err := p.holdFile(ctx, s.base, below)
	if err != nil {
		s.log.LogAttrs(ctx, slog.LevelWarn, "a notebook server's live document is not held for a save", slog.String("path", path), slog.String("err", err.Error()))
		return nothing
	}
	return func(from contents.Hash) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), releaseAsk)
		defer cancel()
		query := url.Values{"from": {string(from)}}
		res, err := p.ask(ctx, http.MethodDelete, s.base, holdPath+url.PathEscape(id)+"?"+query.Encode())
		if err != nil { // the hold ends by itself
			s.log.LogAttrs(ctx, slog.LevelWarn, "a notebook server's live document is held on", slog.String("path", path), slog.String("err", err.Error()))
			return
		}
		_ = res.Body.Close()
	}
}

const holdPath = "/api/collaboration/hold/"

// running returns the server of the workspace that a file is in, as far as it is
// known to run, and the file's path there.
func (s *spawner) running(path string) (*personal, string) {
	rest, ok := strings.CutPrefix(path, "users/")
	name, below, inside := strings.Cut(rest, "/")
	if !ok || !inside {
		return nil, ""
	}
	s.mu.Lock()
	p := s.servers[name]
	s.mu.Unlock()
	if p == nil || !p.known() {
		return nil, ""
	}
	return p, below
}

func (p *personal) holdFile(ctx context.Context, base, path string) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, holdAsk)
	defer cancel()
	segments := strings.Split(path, "/")
	for i, one := range segments {
		segments[i] = url.PathEscape(one)
	}
	res, err := p.ask(ctx, http.MethodPost, base, holdPath+strings.Join(segments, "/"))
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var answer struct {
		ID string `json:"id"`
	}
	err = json.NewDecoder(io.LimitReader(res.Body, maxHoldText)).Decode(&answer)
	return answer.ID, err
}
