package viewer

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"quire/internal/notebook"
)

// sizedNotebook is a notebook of about size bytes: texts, code, tables, streams
// and images in the proportions of a real report.
func sizedNotebook(size int) *notebook.Notebook {
	nb := document()
	table := &strings.Builder{}
	table.WriteString(`<div><style scoped>.dataframe{}</style><table border="1" class="dataframe"><thead><tr style="text-align: right;"><th></th><th>device</th><th>hours</th></tr></thead><tbody>`)
	for i := range 40 {
		fmt.Fprintf(table, "<tr>\n      <th>%d</th>\n      <td>device %d</td>\n      <td>%d.%d</td>\n    </tr>\n", i, i*7, i*31, i)
	}
	table.WriteString("</tbody></table></div>")
	png := strings.Repeat("iVBORw0KGgoAAAANSUhEUgAA", 1000)
	stream := strings.Repeat("2018-05-08 06:02:11 INFO read 12345 rows of playback\n", 100)
	for n, written := 0, 0; written < size; n++ {
		src := fmt.Sprintf("import pandas as pd\n\ndef step_%d(df: pd.DataFrame, *, limit: int = 10) -> pd.DataFrame:\n    \"\"\"One step of many.\"\"\"\n", n) +
			strings.Repeat("    df = df[df.country == \"US\"].groupby(\"device\").agg({\"hours\": \"sum\"})  # keep\n    if len(df) > limit: print(f'{len(df)} rows', 1.5e3)\n", 6)
		md := fmt.Sprintf("## Step %d\n\nHours per *device*, as $h_%d = \\frac{a}{b}$; see [the table](https://example.org/%d) and `df.head()`.\n\n- one\n- two **bold**\n\n| a | b |\n|---|---|\n| 1 | 2 |\n", n, n%10, n)
		var out *notebook.Output
		switch n % 4 {
		case 0:
			out = display("text/html", table.String(), "text/plain", "…")
		case 1:
			out = &notebook.Output{Type: notebook.Stream, Name: "stdout", Text: stream}
		default:
			out = display("image/png", png, "text/plain", "<Figure>")
		}
		nb.Cells = append(nb.Cells, prose(md), code(src, out))
		written += len(src) + len(md) + len(out.Text)
		for _, v := range out.Data {
			written += len(v.(string))
		}
	}
	return nb
}

func benchmarkRender(b *testing.B, nb *notebook.Notebook, size int) {
	b.Helper()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if err := Render(io.Discard, nb, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRender1MB(b *testing.B)  { benchmarkRender(b, sizedNotebook(1<<20), 1<<20) }
func BenchmarkRender20MB(b *testing.B) { benchmarkRender(b, sizedNotebook(20<<20), 20<<20) }

// BenchmarkFirstBytes20MB measures from the call to the first flush.
func BenchmarkFirstBytes20MB(b *testing.B) {
	nb := sizedNotebook(20 << 20)
	var total time.Duration
	for b.Loop() {
		w := &firstWrite{start: time.Now()}
		_ = Render(w, nb, Options{})
		total += w.first
	}
	b.ReportMetric(float64(total.Microseconds())/float64(b.N)/1000, "ms-to-first-byte")
}

type firstWrite struct {
	start time.Time
	first time.Duration
	n     int
}

func (w *firstWrite) Write(p []byte) (int, error) {
	if w.n == 0 {
		w.first = time.Since(w.start)
	}
	w.n += len(p)
	return len(p), nil
}

func BenchmarkSanitize(b *testing.B) {
	nb := sizedNotebook(1 << 20)
	html := nb.Cells[1].Outputs[0].Data["text/html"].(string)
	b.SetBytes(int64(len(html)))
	for b.Loop() {
		sanitize(html, reference{})
	}
}

func BenchmarkMarkdown(b *testing.B) {
	src := strings.Repeat(sizedNotebook(1).Cells[0].Source, 20)
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		newScribe(Options{}).markdown(src, nil)
	}
}

func BenchmarkPython(b *testing.B) {
	src := sizedNotebook(1).Cells[1].Source
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		highlightPython(src)
	}
}

// BenchmarkPage1MB is what a server does for the page of a notebook that it has
// shown before: read the file, check it, write the page.
func BenchmarkPage1MB(b *testing.B) {
	var file bytes.Buffer
	if err := sizedNotebook(1 << 20).Write(&file); err != nil {
		b.Fatal(err)
	}
	opts := Options{Fragment: true, Cache: NewCache(0)}
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		nb, err := notebook.Read(bytes.NewReader(file.Bytes()))
		if err != nil {
			b.Fatal(err)
		}
		if err := Render(io.Discard, nb, opts); err != nil {
			b.Fatal(err)
		}
	}
}
