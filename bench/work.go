package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// trivial returns n cells that assign one name each.
func trivial(n int) []string {
	cells := make([]string, n)
	for i := range cells {
		cells[i] = fmt.Sprintf("x = %d", i)
	}
	return cells
}

// printing returns n cells that print lines lines each.
func printing(n, lines int) []string {
	cells := make([]string, n)
	for i := range cells {
		cells[i] = fmt.Sprintf("for i in range(%d):\n    print('line', i)", lines)
	}
	return cells
}

// writeNotebook writes a Python notebook with the given code cells.
func writeNotebook(path string, sources []string) error {
	cells := make([]any, len(sources))
	for i, source := range sources {
		cells[i] = map[string]any{
			"cell_type": "code", "id": fmt.Sprintf("cell-%d", i), "metadata": map[string]any{},
			"execution_count": nil, "outputs": []any{}, "source": source,
		}
	}
	data, err := json.Marshal(map[string]any{
		"cells": cells, "nbformat": 4, "nbformat_minor": 5,
		"metadata": map[string]any{"kernelspec": map[string]any{
			"name": "python3", "display_name": "Python 3", "language": "python",
		}},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// writeBigNotebook writes a notebook of about size bytes: text outputs, images
// and JSON outputs in turn, laid out as Jupyter writes them, but for the order of the
// keys, so that writing it changes it.
func writeBigNotebook(path string, size int64) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(file, 1<<20)
	line := "2018-05-08 device=tv country=FR hours=12345.6789 title=\\\"Stranger Things\\\" caf\u00e9\\n"
	image := strings.Repeat("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ", 1500)
	points := strings.TrimSuffix(strings.Repeat("\n          [\n           1.5,\n           -2,\n           3e-07\n          ],", 4000), ",")
	fmt.Fprint(w, "{\"cells\": [")
	var written int64
	for i := 0; written < size; i++ {
		if i > 0 {
			fmt.Fprint(w, ",")
		}
		var n int
		switch i % 3 {
		case 0:
			text := strings.TrimSuffix(strings.Repeat("\n       \""+line+"\",", 800), ",")
			n, _ = fmt.Fprintf(w, `{"cell_type":"code","id":"c%d","metadata":{},"execution_count":%d,"source":["print()"],"outputs":[{"output_type":"stream","name":"stdout","text":[%s]}]}`, i, i, text)
		case 1:
			n, _ = fmt.Fprintf(w, `{"cell_type":"code","id":"c%d","metadata":{},"execution_count":%d,"source":["plot()"],"outputs":[{"output_type":"display_data","metadata":{},"data":{"image/png":"%s","text/plain":["<Figure>"]}}]}`, i, i, image)
		default:
			n, _ = fmt.Fprintf(w, `{"cell_type":"code","id":"c%d","metadata":{},"execution_count":%d,"source":["chart()"],"outputs":[{"output_type":"display_data","metadata":{},"data":{"application/vnd.plotly.v1+json":{"data":[%s]},"text/plain":["Chart"]}}]}`, i, i, points)
		}
		written += int64(n)
	}
	fmt.Fprint(w, `],"metadata":{},"nbformat":4,"nbformat_minor":5}`)
	if err := w.Flush(); err != nil {
		return err
	}
	return file.Close()
}
