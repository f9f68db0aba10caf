//go:build unix

package shim

import (
	"os"
	"sync/atomic"
	"time"
)

// pipeBytes is how much a pipe holds.
const pipeBytes = 64 << 10

// copying takes what processes write into a pipe to where it goes.
type copying struct {
	done  chan struct{} // closed when nobody can write any more
	from  *os.File
	moves atomic.Int64 // odd while something is on its way
	bytes atomic.Int64
}

// newCopying begins; from is closed at the end. What does not go on to where it
// goes is lost: whoever writes goes on.
func newCopying(from *os.File, to func([]byte) error) *copying {
	c := &copying{done: make(chan struct{}), from: from}
	go func() {
		defer close(c.done)
		defer from.Close()
		buffer := make([]byte, 32<<10)
		var failed error
		for {
			n, err := from.Read(buffer)
			c.moves.Add(1)
			if failed == nil {
				failed = to(buffer[:n])
			}
			c.bytes.Add(int64(n))
			c.moves.Add(1)
			if err != nil {
				return
			}
		}
	}()
	return c
}

// settle returns when what was in the pipe is where it goes, however long that
// takes. Somebody else may hold the pipe, and may even write: that is not waited for.
func (c *copying) settle() {
	const look = time.Second / 2
	had := c.bytes.Load()
	for seen := int64(-1); ; {
		select {
		case <-c.done:
			return
		case <-time.After(look):
		}
		now := c.moves.Load()
		if now%2 == 0 && (now == seen || c.bytes.Load()-had > pipeBytes) {
			return
		}
		seen = now
	}
}
