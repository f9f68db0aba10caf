// Package python holds the notebook helper and the client library, so that the engine can put it on a
// kernel's path without anything being installed.
package python

import "embed"

// FS holds the Python packages quire and kragle. A directory with these files
// on PYTHONPATH makes "import quire" work on Python 3.8 and newer, and "import
// kragle" on Python 3.10.
//
//go:embed quire/*.py quire/py.typed kragle/*.py kragle/py.typed
var FS embed.FS
