package viewer

import (
	"encoding/json"
	"io"
	"strings"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// FrameCSP is the policy under which RenderFrame's document of an output must be
// served: sandboxed without an origin, so that neither cookies nor storage nor
// any page of ours can be reached, and nothing can be loaded or sent anywhere. In
// a frame with HTML its author's script may run, and in one of Bokeh with the
// library that it needs. In a frame with data that our scripts draw nothing runs
// but these.
func FrameCSP(nb *notebook.Notebook, o *notebook.Output) string {
	return frameCSP(frameType(nb, o))
}

// frameType is the media type that an output's frame shows, "" when it needs none:
// a widget's when its state is stored in the notebook.
func frameType(nb *notebook.Notebook, o *notebook.Output) string {
	if storedWidget(nb, o) != "" {
		return mimeWidget
	}
	return ScriptType(o)
}

func frameCSP(mime string) string {
	script := "'self'"
	switch mime {
	case mimeHTML:
		script = "'unsafe-inline' 'unsafe-eval'"
	case mimeBokeh:
		script = "'self' 'unsafe-inline' 'unsafe-eval'"
	}
	return "sandbox allow-scripts; default-src 'none'; script-src " + script +
		"; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; form-action 'none'; base-uri 'none'"
}

// ScriptType returns the media type of an output that must be drawn by script
// inside a frame, "" when the output can be shown without.
func ScriptType(o *notebook.Output) string {
	for _, mime := range sortedKeys(o.Data) {
		if drawer(mime) != "" && (mime != mimeBokeh || dataText(o, mimeJavaScript) != "") {
			return mime
		}
	}
	if s, ok := o.Data[mimeHTML].(string); ok && needsFrame(s) {
		return mimeHTML
	}
	return ""
}

// frameTags are the elements without which HTML is not what its author meant.
var frameTags = []string{"script", "iframe", "object", "embed", "svg", "canvas", "video", "audio", "form", "input", "button", "link", "style"}

// frameLetters are what their names begin with: most tags of a table are none of
// them by their first letter.
const frameLetters = "sioecvafbl"

// needsFrame reports whether HTML has elements that never stand on the page
// itself. The style that pandas puts before every table does not count.
func needsFrame(src string) bool {
	for {
		i := strings.IndexByte(src, '<')
		if i < 0 {
			return false
		}
		src = src[i+1:]
		if src == "" || strings.IndexByte(frameLetters, src[0]|0x20) < 0 {
			continue
		}
		for _, tag := range frameTags {
			if len(src) <= len(tag) || !strings.EqualFold(src[:len(tag)], tag) {
				continue
			}
			if next := src[len(tag)]; next != ' ' && next != '>' && next != '/' && next != '\n' && next != '\t' && next != '\r' {
				continue
			}
			if tag == "style" && strings.HasPrefix(strings.TrimSpace(src[len(tag):]), "scoped") {
				continue
			}
			return true
		}
	}
}

// sanitizedHasContent reports whether something is left to see of HTML once it
// is sanitized.
func sanitizedHasContent(src string) bool {
	if len(src) > 1<<20 {
		return false
	}
	clean := sanitize(src, reference{})
	for {
		i := strings.IndexByte(clean, '<')
		if i < 0 {
			return strings.TrimSpace(clean) != ""
		}
		if strings.TrimSpace(clean[:i]) != "" || strings.HasPrefix(clean[i:], "<img") {
			return true
		}
		end := strings.IndexByte(clean[i:], '>')
		if end < 0 {
			return false
		}
		clean = clean[i+end+1:]
	}
}

// RenderFrame writes the document that stands in the frame of one output. It
// is hostile by nature: serve it under FrameCSP, with nosniff, from an origin
// that holds nothing. HTML stands in it as its author wrote it. Of any other
// type the data stands in an element of type application/json with id "data",
// which our scripts read to draw it; they are loaded from below the address
// scripts, which ends in a slash (see DrawScript).
func RenderFrame(w io.Writer, nb *notebook.Notebook, o *notebook.Output, scripts string) error {
	mime := frameType(nb, o)
	if mime == "" {
		return problem.New(problem.NotFound, "the output needs no frame")
	}
	var b strings.Builder
	b.WriteString("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Output</title></head>\n<body>\n")
	switch data := dataText(o, mime); {
	case mime == mimeHTML:
		b.WriteString(data)
	case mime == mimeBokeh:
		writeBokeh(&b, o, scripts)
	case mime == mimeWidget:
		if err := writeWidgets(&b, nb, o, scripts); err != nil {
			return err
		}
	default:
		safe, err := json.Marshal(map[string]any{"mime": mime, "data": json.RawMessage(asJSON(o.Data[mime]))})
		if err != nil {
			return problem.WrapAs(problem.Invalid, err, "output of type %s", mime)
		}
		// json.Marshal writes <, > and & as \u003c and so on: the text cannot
		// end the element that it stands in.
		writeDrawing(&b, o, mime, string(safe), scripts)
	}
	b.WriteString("\n</body></html>\n")
	_, err := io.WriteString(w, b.String())
	return problem.Wrap(err, "writing the frame of an output")
}

// asJSON returns the data of a media type as JSON text.
func asJSON(v any) []byte {
	if raw, ok := v.(notebook.Raw); ok {
		return raw
	}
	if s, ok := v.(string); ok {
		text, _ := json.Marshal(s)
		return text
	}
	return []byte(compact(v, 0))
}
