//go:build unix && !linux

package kernel

// memoryWatch knows nothing on systems without control groups.
type memoryWatch struct{ limit int64 }

func watchMemory(int) *memoryWatch         { return &memoryWatch{} }
func (w *memoryWatch) refresh()            {}
func (w *memoryWatch) killed(_ int64) bool { return false }
