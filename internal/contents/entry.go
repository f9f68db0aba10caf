package contents

import (
	"io/fs"
	"mime"
	"path"
	"strings"
	"time"
)

// A Type is what an entry is, in Jupyter's words.
type Type string

// The types of entries.
const (
	Directory Type = "directory"
	Notebook  Type = "notebook"
	File      Type = "file"
)

// An Entry describes a file or directory.
type Entry struct {
	Name     string
	Path     string // from the volume's root, "" for the root
	Type     Type
	Size     int64 // bytes; 0 for directories
	Created  time.Time
	Modified time.Time // zero where the medium does not say
	Writable bool      // by who asked
	Mime     string    // of files; "" for notebooks and directories
	Version  int64     // number of the newest version; 0 when none is known
	Hash     Hash      // of a notebook's newest version; "" when none is known
}

func typeOf(name string, dir bool) Type {
	switch {
	case dir:
		return Directory
	case strings.EqualFold(path.Ext(name), ".ipynb"):
		return Notebook
	}
	return File
}

// mimes are the media types that the machine's own table may lack, so that a
// file has the same type everywhere.
var mimes = map[string]string{
	".md": "text/markdown", ".csv": "text/csv", ".tsv": "text/tab-separated-values",
	".json": "application/json", ".yaml": "application/yaml", ".yml": "application/yaml",
	".py": "text/x-python", ".r": "text/x-r", ".sql": "application/sql", ".sh": "text/x-shellscript",
	".txt": "text/plain", ".log": "text/plain", ".parquet": "application/vnd.apache.parquet",
	".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg",
	".gif": "image/gif", ".webp": "image/webp", ".html": "text/html", ".pdf": "application/pdf",
}

// MimeOf returns the media type that a file's name suggests, without
// parameters, or "" when it suggests none.
func MimeOf(name string) string {
	ext := strings.ToLower(path.Ext(name))
	if m, ok := mimes[ext]; ok {
		return m
	}
	m, _, _ := strings.Cut(mime.TypeByExtension(ext), ";")
	return m
}

func newEntry(p string, info fs.FileInfo) Entry {
	_, name := split(p)
	e := Entry{
		Name: name, Path: p, Type: typeOf(name, info.IsDir()),
		Modified: info.ModTime().UTC(), Created: info.ModTime().UTC(),
	}
	if e.Type != Directory {
		e.Size = info.Size()
	}
	if e.Type == File {
		e.Mime = MimeOf(name)
	}
	return e
}
