// Package web holds the browser app: the notebook editor, and the explorer of tables
// on other pages. Its files are built
// from web/src by tools/build.sh where Node.js is; a program built without them
// says so and opens notebooks in JupyterLab alone.
package web

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"io/fs"
	"path"
	"strings"
	"sync"

	"quire/internal/problem"
)

//go:embed all:dist
var dist embed.FS

// A manifestEntry is one file of Vite's manifest.
type manifestEntry struct {
	File    string   `json:"file"`
	CSS     []string `json:"css"`
	IsEntry bool     `json:"isEntry"`
	Imports []string `json:"imports"`
}

// An Entry is what a page loads to show the app: addresses below the place
// where File's files are served.
type Entry struct {
	Script  string
	Preload []string // modules that the script imports at once
	Styles  []string
}

var manifest = sync.OnceValue(func() map[string]manifestEntry {
	data, err := dist.ReadFile("dist/app/manifest.json")
	if err != nil {
		return nil
	}
	var all map[string]manifestEntry
	if json.Unmarshal(data, &all) != nil {
		return nil
	}
	return all
})

// Built reports whether the app is in this program.
func Built() bool { return manifest() != nil }

// Page returns what to load for the entry of that name, such as "src/main.tsx".
func Page(name string) (Entry, bool) {
	all := manifest()
	m, ok := all[name]
	if !ok {
		return Entry{}, false
	}
	e := Entry{Script: m.File, Styles: m.CSS}
	seen := map[string]bool{}
	var add func(imports []string)
	add = func(imports []string) {
		for _, i := range imports {
			if seen[i] {
				continue
			}
			seen[i] = true
			e.Preload = append(e.Preload, all[i].File)
			e.Styles = append(e.Styles, all[i].CSS...)
			add(all[i].Imports)
		}
	}
	add(m.Imports)
	return e, true
}

// A File is one file of the app.
type File struct {
	Plain, Packed []byte // Packed is Plain under gzip
	Type          string
}

var types = map[string]string{
	".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml",
	".woff2": "font/woff2", ".png": "image/png",
}

var files sync.Map // name -> func() (File, error)

// Open returns the file of that name; its name changes with its content.
func Open(name string) (File, error) {
	if !fs.ValidPath(name) || !strings.HasPrefix(name, "assets/") {
		return File{}, problem.New(problem.NotFound, "no such file")
	}
	data, err := dist.ReadFile("dist/app/" + name)
	kind := types[path.Ext(name)]
	if err != nil || kind == "" {
		return File{}, problem.New(problem.NotFound, "no such file")
	}
	read, _ := files.LoadOrStore(name, sync.OnceValues(func() (File, error) { return pack(data, kind) }))
	return read.(func() (File, error))() //nolint:forcetypeassert // nothing else is stored
}

func pack(data []byte, kind string) (File, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return File{}, problem.WrapAs(problem.Internal, err, "packing a file of the app")
	}
	if _, err := z.Write(data); err != nil {
		return File{}, problem.WrapAs(problem.Internal, err, "packing a file of the app")
	}
	if err := z.Close(); err != nil {
		return File{}, problem.WrapAs(problem.Internal, err, "packing a file of the app")
	}
	return File{Plain: data, Packed: b.Bytes(), Type: kind}, nil
}
