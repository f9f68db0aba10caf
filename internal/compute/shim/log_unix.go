//go:build unix

package shim

import "os"

// logFile is a log of which only the last max bytes are kept on the disk:
// older ones become a hole, so that an offset in the file is an offset in all
// that was ever written.
type logFile struct {
	file    *os.File
	max     int64 // 0 keeps everything
	size    int64
	punched int64 // up to where there is a hole
	full    bool  // the file system knows no holes
}

// logStep is how much more than its bound a log takes before its beginning is
// given back.
const logStep = 256 << 10

func (l *logFile) write(p []byte) {
	if len(p) == 0 || l.full {
		return
	}
	n, err := l.file.Write(p)
	l.size += int64(n)
	if err != nil { // no space: what comes next may fit again
		return
	}
	if l.max <= 0 || l.size-l.punched < l.max+logStep {
		return
	}
	hole := (l.size - l.max) &^ 4095
	if err := punchHole(l.file, l.punched, hole-l.punched); err != nil {
		l.full = true
		l.file.WriteString("\n[the log is full: nothing more is kept]\n") //nolint:errcheck // a note for a person
		return
	}
	l.punched = hole
}
