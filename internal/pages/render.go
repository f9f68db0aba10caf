package pages

import (
	"encoding/json"
	"errors"
	"net/http"

	"quire/internal/api"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/viewer"
)

// Bounds of a request to render.
const (
	maxRenderBody = 48 << 20
	maxRenders    = 200
)

// A renderRequest is outputs that somebody wants to see as the pages show them.
type renderRequest struct {
	// Path is the notebook's: relative links and images lead from there.
	Path    string         `json:"path,omitempty"`
	Outputs []renderOutput `json:"outputs,omitempty"`
	// Texts are the sources of text cells.
	Texts []renderText `json:"texts,omitempty"`
}

type renderText struct {
	Source string `json:"source"`
	// Attachments are the cell's, as nbformat has them.
	Attachments notebook.Object `json:"attachments,omitempty"`
}

type renderOutput struct {
	// Output is one output as nbformat has it.
	Output json.RawMessage `json:"output"`
	// Cell is the number of its cell, from 1.
	Cell int `json:"cell,omitempty"`
	// DX is the chart that is chosen for it, in the form of nteract's data explorer.
	DX json.RawMessage `json:"dx,omitempty"`
	// Part is what is wanted: "" for the whole, "chart" for the chart alone,
	// "table" for the values of the table.
	Part string `json:"part,omitempty"`
	// MaxBytes is how much of the output is shown; 0 is what pages show.
	MaxBytes int `json:"maxBytes,omitempty"`
}

type renderAnswer struct {
	Outputs []renderedOutput `json:"outputs"`
	Texts   []string         `json:"texts,omitempty"` // sanitized HTML
}

type renderedOutput struct {
	// HTML is safe where it stands: sanitized, or made here.
	HTML string `json:"html,omitempty"`
	// Frame is the media type that belongs in a frame of its own instead.
	Frame string         `json:"frame,omitempty"`
	Table *renderedTable `json:"table,omitempty"`
	// Error says why it cannot be shown so.
	Error string `json:"error,omitempty"`
}

type renderedTable struct {
	Names []string `json:"names"`
	Rows  [][]any  `json:"rows"`
	// Whole is how many rows the table had before it was cut, 0 when it was not.
	Whole int64 `json:"whole,omitempty"`
	// DX is the chart that is chosen for it, where the table is of a page.
	DX json.RawMessage `json:"dx,omitempty"`
}

func (s *site) registerRender(rt *api.Router) {
	rt.Handle("POST /api/render", api.Policy{Access: api.SignedIn, MaxBody: maxRenderBody, Doc: api.Doc{
		Summary: "Outputs and texts as the pages show them: sanitized HTML, drawn charts, values of tables", Request: renderRequest{}, Response: renderAnswer{},
	}}, s.render)
	rt.Handle("GET /shell/{kind}", api.Policy{Access: api.SignedIn, Page: true}, s.shell)
}

// render shows outputs that are in no file yet. It reads nothing but the request.
func (s *site) render(w http.ResponseWriter, r *http.Request) error {
	var req renderRequest
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return problem.New(problem.TooLarge, "the outputs have more than %d MB: at most that is rendered at once", maxRenderBody>>20)
		}
		return problem.WrapAs(problem.Invalid, err, "reading the outputs to render")
	}
	if n := len(req.Outputs) + len(req.Texts); n > maxRenders {
		return problem.New(problem.Invalid, "%d outputs and texts: at most %d are rendered at once", n, maxRenders)
	}
	answer := renderAnswer{Outputs: make([]renderedOutput, len(req.Outputs))}
	for i, one := range req.Outputs {
		if r.Context().Err() != nil {
			return r.Context().Err()
		}
		out, err := s.renderOne(req.Path, one)
		if err != nil {
			out = renderedOutput{Error: text(err)}
		}
		answer.Outputs[i] = out
	}
	opts := viewer.Options{Cache: s.cache, LinkURL: s.linkURL(req.Path), ImageURL: s.imageURL(req.Path)}
	for _, t := range req.Texts {
		if r.Context().Err() != nil {
			return r.Context().Err()
		}
		answer.Texts = append(answer.Texts, viewer.RenderText(&notebook.Cell{Type: notebook.Markdown, Source: t.Source, Attachments: t.Attachments}, opts))
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	return problem.Wrap(json.NewEncoder(w).Encode(answer), "sending rendered outputs")
}

func (s *site) renderOne(path string, one renderOutput) (renderedOutput, error) {
	o, err := notebook.UnmarshalOutput(one.Output)
	if err != nil {
		return renderedOutput{}, err
	}
	switch one.Part {
	case "table":
		t := viewer.ReadTable(o)
		if t == nil {
			return renderedOutput{}, problem.New(problem.Invalid, "the output holds no table")
		}
		return renderedOutput{Table: &renderedTable{Names: t.Names, Rows: t.Rows, Whole: int64(t.Whole)}}, nil
	case "chart":
		pic, err := viewer.DrawTable(o, one.DX)
		if err != nil {
			return renderedOutput{}, err
		}
		if pic == nil {
			return renderedOutput{}, problem.New(problem.Invalid, "the output holds no table, or the choice is none of a chart")
		}
		return renderedOutput{HTML: pic.Figure()}, nil
	case "":
		opts := viewer.Options{Cache: s.cache, LinkURL: s.linkURL(path), ImageURL: s.imageURL(path), MaxOutputBytes: min(one.MaxBytes, 8<<20)}
		out := viewer.RenderOutput(o, max(one.Cell, 1), one.DX, opts)
		return renderedOutput{HTML: out.HTML, Frame: out.Frame}, nil
	}
	return renderedOutput{}, problem.New(problem.Invalid, "part %.20q: want chart, table or none", one.Part)
}

// shell sends the empty frame that a page sends an output into. There is
// nothing in it that is anybody's.
func (s *site) shell(w http.ResponseWriter, r *http.Request) error {
	page, policy, err := viewer.Shell(r.PathValue("kind"), s.to("/static/"))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy+"; frame-ancestors 'self'")
	h.Set("Cache-Control", "no-cache")
	_, err = w.Write([]byte(page))
	return problem.Wrap(err, "sending a frame")
}
