package viewer

import (
	"bufio"
	"io"
	"strings"

	"quire/internal/notebook"
	"quire/internal/problem"
)

// comments maps a language to what begins a comment line in it; "#" for others.
var comments = map[string]string{
	"javascript": "//", "typescript": "//", "scala": "//", "java": "//", "c++": "//", "c++11": "//", "c++14": "//", "c++17": "//",
	"rust": "//", "go": "//", "kotlin": "//", "csharp": "//", "c#": "//", "sql": "--", "lua": "--", "haskell": "--", "matlab": "%", "clojure": ";;",
}

// WriteScript writes the notebook as a script in the percent format that
// Jupytext, VS Code and Spyder read: every cell begins with a "# %%" line,
// texts and raw cells are comments, and so are lines of Python that only IPython
// understands (magics and shell commands). Outputs are left out. Languages with
// another comment sign get that sign.
func WriteScript(w io.Writer, nb *notebook.Notebook) error {
	lang := language(nb)
	sign, ok := comments[lang]
	if !ok {
		sign = "#"
	}
	b := bufio.NewWriter(w)
	for i, c := range nb.Cells {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(sign + " %%")
		switch c.Type {
		case notebook.Markdown:
			b.WriteString(" [markdown]")
		case notebook.RawCell:
			b.WriteString(" [raw]")
		}
		if all := tags(c); len(all) > 0 {
			b.WriteString(" tags=" + asciiJSON(all))
		}
		b.WriteString("\n")
		source := strings.TrimRight(strings.ReplaceAll(c.Source, "\r\n", "\n"), "\n")
		if source == "" {
			continue
		}
		whole := c.Type != notebook.Code || strings.HasPrefix(strings.TrimSpace(source), "%%")
		for line := range strings.SplitSeq(source, "\n") {
			trimmed := strings.TrimLeft(line, " \t")
			switch {
			case whole && line == "":
				b.WriteString(sign + "\n")
			case whole, isPython(lang) && (strings.HasPrefix(trimmed, "%") || strings.HasPrefix(trimmed, "!")) && trimmed == line, strings.HasPrefix(line, sign+" %%"):
				b.WriteString(sign + " " + line + "\n")
			default:
				b.WriteString(line + "\n")
			}
		}
	}
	return problem.Wrap(b.Flush(), "writing the notebook as a script")
}

// asciiJSON returns strings as a JSON list on one line.
func asciiJSON(list []string) string {
	parts := make([]string, len(list))
	for i, s := range list {
		parts[i] = compact(s, 0)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// WriteMarkdown writes the notebook as one markdown text: texts as they are,
// code in fences, outputs that are text in fences, a word for what is not.
func WriteMarkdown(w io.Writer, nb *notebook.Notebook) error {
	b := bufio.NewWriter(w)
	lang := language(nb)
	if strings.ContainsAny(lang, "`~ \t\r\n") {
		lang = ""
	}
	for i, c := range nb.Cells {
		if i > 0 {
			b.WriteString("\n")
		}
		source := strings.TrimRight(c.Source, "\n")
		if c.Type == notebook.Markdown {
			b.WriteString(source + "\n")
			continue
		}
		if c.Type == notebook.RawCell {
			fenced(b, "", source)
			continue
		}
		fenced(b, lang, source)
		for _, o := range c.Outputs {
			b.WriteString("\n")
			if md, ok := o.Data[mimeMarkdown].(string); ok && o.Data[mimeHTML] == nil {
				b.WriteString(strings.TrimRight(md, "\n") + "\n")
				continue
			}
			text, ok := plainOutput(o)
			if !ok {
				b.WriteString("*Output: " + outputKind(o) + "*\n")
				continue
			}
			shown, cut := cutText(strings.TrimRight(text, "\n"), DefaultMaxOutputBytes)
			if cut {
				shown += "\n… " + byteSize(len(text)) + " in all"
			}
			fenced(b, "text", shown)
		}
	}
	return problem.Wrap(b.Flush(), "writing the notebook as markdown")
}

// plainOutput returns an output as text to read, false when it has none.
func plainOutput(o *notebook.Output) (string, bool) {
	switch o.Type {
	case notebook.Stream:
		return overstrike(stripANSI(o.Text)), true
	case notebook.ErrorOutput:
		return o.Ename + ": " + stripANSI(o.Evalue), true
	}
	for _, mime := range imageTypes {
		if o.Data[mime] != nil {
			return "", false
		}
	}
	if o.Data[mimeText] == nil {
		return "", false
	}
	return dataText(o, mimeText), true
}

// fenced writes text in a fence that is longer than any in it.
func fenced(b *bufio.Writer, lang, text string) {
	fence := "```"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	b.WriteString(fence + lang + "\n")
	if text != "" {
		b.WriteString(text + "\n")
	}
	b.WriteString(fence + "\n")
}
