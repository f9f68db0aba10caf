// Package program holds the program that is started beside each container:
// cmd/quire-shim, small, with nothing of the rest of Quire in it. It is never on
// the disk: it is written into a sealed file in memory, once in the life of a
// process, and executed from there. So there is no file whose owner and mode must
// be right, and that somebody could replace between a check and its use; and a
// container whose processes find it can do nothing to it.
package program

import (
	"embed"
	"os"
	"sync"
)

// built holds quire-shim where tools/build.sh has put it; without it quire is
// whole, and its containers start more slowly.
//
//go:embed all:built
var built embed.FS

const builtFile = "built/quire-shim"

// Shim returns the program, open to be executed; nobody closes it. It is nil where
// this quire was built without it, and on systems without such files; with an
// error it should have been there.
var Shim = sync.OnceValues(func() (*os.File, error) {
	data, err := built.ReadFile(builtFile)
	if err != nil {
		return nil, nil //nolint:nilerr // it was not built in
	}
	return Seal(data)
})
