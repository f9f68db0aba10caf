package kernel

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"

	"quire/internal/problem"
)

// Ports are taken from here, below what Linux hands out by itself to
// outgoing connections.
const (
	portLow  = 15000
	portHigh = 32767
)

// portLocks holds ports for a kernel: as long as their lock files are locked
// no other kernel of this user is given them.
type portLocks struct {
	ports []int
	files []*os.File
}

// release gives the ports back. Twice is fine.
func (p *portLocks) release() {
	for _, f := range p.files {
		_ = f.Close() // the lock ends with its file
	}
	p.files = nil
}

// lockPorts finds n ports that nobody holds and nobody listens on.
func lockPorts(dir string, n int) (*portLocks, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, problem.Wrap(err, "making the folder of port locks")
	}
	low, high := portRange()
	held := &portLocks{}
	span := high - low + 1
	start := rand.IntN(span)
	for i := 0; i < span && len(held.ports) < n; i++ {
		port := low + (start+i)%span
		f, ok := lockPort(dir, port)
		if !ok {
			continue
		}
		held.ports = append(held.ports, port)
		held.files = append(held.files, f)
	}
	if len(held.ports) < n {
		held.release()
		return nil, problem.New(problem.Unavailable, "no %d free ports between %d and %d", n, low, high)
	}
	return held, nil
}

func lockPort(dir string, port int) (*os.File, bool) {
	f, err := os.OpenFile(filepath.Join(dir, itoa(port)), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, false
	}
	if !tryLock(f) || !canListen(port) {
		_ = f.Close()
		return nil, false
	}
	return f, true
}

func canListen(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// portRange keeps clear of the ephemeral ports where the system says which
// they are.
func portRange() (low, high int) {
	low, high = portLow, portHigh
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return low, high
	}
	var from, to int
	if n, _ := fmt.Sscan(string(data), &from, &to); n != 2 {
		return low, high
	}
	if from-1-low >= 1000 {
		return low, min(high, from-1)
	}
	if 65535-to >= 1000 {
		return to + 1, 65535
	}
	return low, high // no room elsewhere: locks and retries must do
}

// portTaken reports whether a kernel's dying words are those of a port that
// another process took.
func portTaken(words string) bool {
	words = strings.ToLower(words)
	return strings.Contains(words, "address already in use") || strings.Contains(words, "eaddrinuse") ||
		strings.Contains(words, "address in use")
}
