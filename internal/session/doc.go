// Package session is live documents: a notebook or text file, everybody who is
// connected to it, and the cells of it that run.
//
// The document lives on the server. It is a Yjs document (see ydoc) in the form
// that JupyterLab's clients know, built from its file always in the same way, so
// that a client that was away finds the items that it knows.
//
//   - A change is in the log on the disk before anybody else sees it. A server that
//     is killed finds it there; the file is written a second later.
//   - A file that changes outside (git, a terminal, a plain Jupyter client's save)
//     is merged cell by cell, against the version that it was made from. Where both
//     sides changed the same, the document stays as it is and the other side stays
//     among the file's versions.
//   - Cells run whether or not anybody is connected. A cell is done when every
//     output of it is in the log.
//
// A Room is one document with one goroutine that owns it. Rooms is all of them.
package session
