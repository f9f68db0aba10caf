package viewer

import (
	"slices"
	"strings"

	"quire/internal/problem"
)

// Shells are the kinds of empty frames that an output is sent into.
var Shells = []string{"html", "plotly", "vega", widgetLibrary}

// Shell returns an empty document for the frame of one output and the policy
// that it must be served under, which is FrameCSP's. The page that holds the
// frame sends the output in by postMessage when the frame says that it is ready:
// so an output that is in no file yet is kept as far away from the page as one
// that is. kind is one of Shells; scripts is as in RenderFrame.
func Shell(kind, scripts string) (page, csp string, err error) {
	if !slices.Contains(Shells, kind) {
		return "", "", problem.New(problem.NotFound, "there is no frame %.40q", kind)
	}
	const head = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>Output</title></head>\n<body>\n"
	if kind == "html" {
		return head + "<script>" + htmlShell + "</script>\n</body></html>\n", frameCSP(mimeHTML), nil
	}
	var b strings.Builder
	style := drawStyle
	if kind == widgetLibrary {
		style = modelStyle
	}
	b.WriteString(head + style + `<div id="fallback"></div><div id="output"></div>`)
	writeScripts(&b, kind, scripts)
	b.WriteString("\n</body></html>\n")
	return b.String(), frameCSP(""), nil
}

// htmlShell writes what the page sends, and tells the page how tall that is. Both
// ends take messages only of the other.
const htmlShell = `(() => {
const page = parent;
let said = 0;
const size = () => {
  const b = document.body;
  if (!b) return;
  const h = Math.ceil(Math.max(b.scrollHeight, b.getBoundingClientRect().bottom + 8));
  if (Math.abs(h - said) > 1) { said = h; page.postMessage({ quire: "height", height: h }, "*"); }
};
addEventListener("message", (e) => {
  if (e.source !== page || !e.data || e.data.quire !== "show") return;
  document.open();
  document.write(e.data.html);
  document.close();
  const watch = new ResizeObserver(size);
  watch.observe(document.documentElement);
  if (document.body) watch.observe(document.body);
  addEventListener("load", size);
  size();
}, { once: true });
page.postMessage({ quire: "ready" }, "*");
})()`
