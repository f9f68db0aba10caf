package viewer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"strings"
	"sync"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// drawFiles are the scripts that draw in frames: libraries as they are released,
// compressed, and our own few lines that use them. tools/draw makes them.
//
//go:embed draw/plotly.min.js.gz draw/vega.min.js.gz draw/bokeh.min.js.gz draw/widgets.min.js.gz draw/draw.js draw/models.js
var drawFiles embed.FS

// drawers names, by the beginning of a media type, the library that draws it.
var drawers = []struct{ mime, library string }{
	{"application/vnd.plotly.v1+json", "plotly"},
	{"application/vnd.vegalite.", "vega"},
	{"application/vnd.vega.", "vega"},
	{mimeBokeh, "bokeh"},
}

// drawer returns the library that draws a media type, "" when there is none.
func drawer(mime string) string {
	for _, d := range drawers {
		if strings.HasPrefix(mime, d.mime) {
			return d.library
		}
	}
	return ""
}

// A drawScript is a script of frames, as it is served.
type drawScript struct {
	name   string // with a hash of its content
	packed []byte // compressed by gzip
}

// drawScripts are made ready when the first frame is shown, by their short names.
var drawScripts = sync.OnceValue(func() map[string]drawScript {
	all := map[string]drawScript{}
	for _, short := range []string{"plotly", "vega", "bokeh", "widgets", "draw", "models"} {
		packed, err := drawFiles.ReadFile("draw/" + short + ".min.js.gz")
		if short == "draw" || short == "models" { // our own
			var plain []byte
			plain, err = drawFiles.ReadFile("draw/" + short + ".js")
			packed = pack(plain)
		}
		if err != nil {
			panic(err) // the file is part of the program
		}
		sum := sha256.Sum256(packed)
		all[short] = drawScript{name: short + "." + hex.EncodeToString(sum[:6]) + ".js", packed: packed}
	}
	return all
})

// pack compresses by gzip; writing to memory cannot go wrong.
func pack(plain []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(plain)
	_ = w.Close()
	return b.Bytes()
}

// DrawScript returns a script that frames load, compressed by gzip, by the name
// under which RenderFrame asks for it. The name changes with the content.
func DrawScript(name string) (packed []byte, err error) {
	for _, s := range drawScripts() {
		if s.name == name {
			return s.packed, nil
		}
	}
	return nil, problem.New(problem.NotFound, "no such script")
}

const drawStyle = "<style>html,body{margin:0;height:100%;font:14px/1.45 system-ui,sans-serif}#output{height:100%}#fallback img{max-width:100%}[hidden]{display:none}</style>\n"

// modelStyle is the same where widgets are shown: they are as tall as they are.
const modelStyle = "<style>html,body{margin:0;font:14px/1.45 system-ui,sans-serif}body{padding:4px}#fallback pre{margin:0}[hidden]{display:none}</style>\n"

// writeDrawing writes the body of the frame in which our scripts draw the data
// of one media type. What can be shown without script stands there until it is
// drawn, and stays when it is not.
func writeDrawing(b *strings.Builder, o *notebook.Output, mime, data, scripts string) {
	b.WriteString(drawStyle)
	b.WriteString(`<div id="fallback">`)
	writeFallback(b, o)
	b.WriteString(`</div><div id="output"></div><script id="data" type="application/json">`)
	b.WriteString(data)
	b.WriteString(`</script>`)
	writeScripts(b, drawer(mime), scripts)
}

// writeScripts writes the elements that load a library and our lines that use it.
func writeScripts(b *strings.Builder, library, scripts string) {
	ours := "draw"
	if library == widgetLibrary {
		ours = "models"
	}
	for _, short := range []string{library, ours} {
		b.WriteString(`<script src="` + esc(scripts+drawScripts()[short].name) + `"></script>`)
	}
}

// writeFallback writes the picture or the text that came with an output.
func writeFallback(b *strings.Builder, o *notebook.Output) {
	for _, mime := range []string{"image/png", "image/jpeg"} {
		if data := stripSpace(dataText(o, mime)); validBase64(data) {
			b.WriteString(`<img alt="Static form of the output" src="data:` + mime + ";base64," + data + `">`)
			return
		}
	}
	b.WriteString("<p>This output is drawn by script.</p>")
	if text, _ := cutText(dataText(o, mimeText), 4000); text != "" {
		b.WriteString("<pre>" + esc(text) + "</pre>")
	}
}

// bokehPlaces makes the elements that Bokeh's figures are drawn into.
const bokehPlaces = `{
const draw = Bokeh.embed.embed_items_notebook;
window.Bokeh = { ...Bokeh, embed: { ...Bokeh.embed, embed_items_notebook(docs, items) {
  for (const item of items) {
    for (const [root, id] of Object.entries(item.roots ?? {})) {
      if (document.getElementById(id)) continue;
      const place = document.createElement("div");
      place.id = id;
      place.dataset.rootId = root;
      document.body.append(place);
    }
  }
  return draw(docs, items);
} } };
}`

// writeBokeh writes the body of the frame of a Bokeh figure. The script that
// came with it, which is its author's, draws it with the library that stands
// before it. Bokeh puts the element to draw into in an output before this one; here
// it is made when the script asks for it.
func writeBokeh(b *strings.Builder, o *notebook.Output, scripts string) {
	b.WriteString("<style>html,body{margin:0;font:14px/1.45 system-ui,sans-serif}</style>\n")
	b.WriteString(`<script src="` + esc(scripts+drawScripts()["bokeh"].name) + `"></script>`)
	b.WriteString("<script>" + bokehPlaces + "</script>")
	b.WriteString("<script>" + dataText(o, mimeJavaScript) + "</script>")
}
