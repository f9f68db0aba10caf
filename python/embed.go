// Package python holds the notebook helper, so that the engine can put it on a
// kernel's path without anything being installed.
package python

import "embed"

// FS holds the Python package quire as quire/*.py. A directory with these files
// on PYTHONPATH makes "import quire" work on Python 3.8 and newer.
//
//go:embed quire/*.py quire/py.typed
var FS embed.FS
