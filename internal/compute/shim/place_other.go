//go:build unix && !linux

package shim

import (
	"os"
	"path/filepath"
)

func ownExecutable() string {
	path, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return path
}

func (p *Place) socketPath(id string) (string, func(), error) {
	return filepath.Join(p.dir, id, "sock"), func() {}, nil
}
