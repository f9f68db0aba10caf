package viewer

import (
	"encoding/json"
	"regexp"
	"strings"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// widgetLibrary is the script that shows Jupyter's widgets.
const widgetLibrary = "widgets"

// Bounds of the models that one frame is given.
const (
	maxFrameModels = 2000
	maxFrameBytes  = 32 << 20
)

// widgetModels are the states of the models that a notebook has stored.
func widgetModels(nb *notebook.Notebook) notebook.Object {
	return object(lookup(nb.Metadata, "widgets", "application/vnd.jupyter.widget-state+json", "state"))
}

// storedWidget returns the id of the model that an output shows, "" when its state
// is not stored in the notebook.
func storedWidget(nb *notebook.Notebook, o *notebook.Output) string {
	id := stringAt(object(o.Data[mimeWidget]), "model_id")
	if id == "" || object(widgetModels(nb)[id]) == nil {
		return ""
	}
	return id
}

// otherModel finds the models that a model's state names: those that it is made
// of, and those that outputs in it show.
var otherModel = regexp.MustCompile(`"IPY_MODEL_([\w-]{1,128})"|"model_id": ?"([\w-]{1,128})"`)

// writeWidgets writes the body of the frame of a widget: its model and all that it
// is made of, as data, which our script shows. Until then, and where there is no
// script, it stands there in words.
func writeWidgets(b *strings.Builder, nb *notebook.Notebook, o *notebook.Output, scripts string) error {
	id, all := storedWidget(nb, o), widgetModels(nb)
	models, size := map[string]json.RawMessage{}, 0
	for next := []string{id}; len(next) > 0; next = next[1:] {
		if models[next[0]] != nil || all[next[0]] == nil {
			continue
		}
		text := asJSON(all[next[0]])
		if size += len(text); len(models) >= maxFrameModels || size > maxFrameBytes {
			return problem.New(problem.TooLarge, "the widget has more than %d parts or %d MB: at most that is shown", maxFrameModels, maxFrameBytes>>20)
		}
		models[next[0]] = text
		for _, m := range otherModel.FindAllSubmatch(text, -1) {
			next = append(next, string(m[1])+string(m[2]))
		}
	}
	data, err := json.Marshal(map[string]any{"model": id, "models": models})
	if err != nil {
		return problem.WrapAs(problem.Invalid, err, "the stored state of a widget")
	}
	b.WriteString(modelStyle + `<div id="fallback"><pre>`)
	b.WriteString(esc((&page{widgets: all}).widgetText(o)))
	// As in RenderFrame, the text cannot end the element that it stands in.
	b.WriteString(`</pre></div><div id="output"></div><script id="data" type="application/json">`)
	b.Write(data)
	b.WriteString(`</script>`)
	writeScripts(b, widgetLibrary, scripts)
	return nil
}
