package shim

import (
	"path/filepath"
	"strconv"
)

// ownExecutable is this program, also when its file was replaced since.
func ownExecutable() string { return "/proc/self/exe" }

func (p *Place) socketPath(id string) (string, func(), error) {
	dir, err := p.root.Open(id)
	if err != nil {
		return "", nil, err
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(dir.Fd())), "sock"), func() { dir.Close() }, nil
}
