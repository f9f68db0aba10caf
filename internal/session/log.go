package session

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"quire/internal/problem"
)

// An updateLog is what happened in a document since it was built from its file:
// every change is on the disk here before anybody sees it. Each record is
//
//	length (4 bytes), CRC-32C of what follows (4), kind (1), content
//
// A record that was not written whole, and all behind it, is not there. The owner
// is one room.
type updateLog struct {
	root *os.Root
	name string
	file *os.File
	size int64 // bytes
	wrap []byte
}

const logMagic = "quire document log 1\n"

// The kinds of records.
const (
	recordHead   = 'H' // a logHead
	recordUpdate = 'U' // an update of the document
	recordSaved  = 'S' // a logSaved
	recordMark   = 'M' // a logMark
	recordMarked = 'B' // a logMark, with its length before it, and the update that goes with it
)

// maxRecord bounds what is read into memory at once.
const maxRecord = 1 << 30

// A logHead begins a log.
type logHead struct {
	// Epoch names this history of the document. A client that knows another one
	// holds items that would be mistaken for items here.
	Epoch string `json:"epoch"`
}

// A logSaved notes that the document, as it was then, is a version of its file.
type logSaved struct {
	Version int64 `json:"version"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openLog opens a log and hands its records to replay. A missing log is an empty
// one. What was written only in part is cut off.
func openLog(root *os.Root, name string, replay func(kind byte, content []byte) error) (*updateLog, error) {
	f, err := root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "opening the log of a document")
	}
	l := &updateLog{root: root, name: name, file: f}
	if err := l.replay(replay); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

func (l *updateLog) replay(do func(kind byte, content []byte) error) error {
	info, err := l.file.Stat()
	if err != nil {
		return err
	}
	r := bufio.NewReaderSize(l.file, 1<<16)
	magic := make([]byte, len(logMagic))
	if n, err := io.ReadFull(r, magic); err != nil || string(magic) != logMagic {
		if n == len(magic) {
			return problem.New(problem.Invalid, "%s is not the log of a document", l.name)
		}
		return l.start()
	}
	good := int64(len(logMagic))
	for {
		var head [9]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			break
		}
		n := int64(binary.BigEndian.Uint32(head[:4]))
		if n > maxRecord || n > info.Size()-good-int64(len(head)) {
			break
		}
		content := make([]byte, n)
		if _, err := io.ReadFull(r, content); err != nil {
			break
		}
		sum := crc32.Update(crc32.Checksum(head[8:], castagnoli), castagnoli, content)
		if sum != binary.BigEndian.Uint32(head[4:8]) {
			break
		}
		if err := do(head[8], content); err != nil {
			return err
		}
		good += int64(len(head)) + n
	}
	if good < info.Size() {
		if err := l.file.Truncate(good); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "cutting a torn record off the log of a document")
		}
	}
	_, err = l.file.Seek(good, io.SeekStart)
	l.size = good
	return err
}

// start begins an empty log.
func (l *updateLog) start() error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	if _, err := l.file.WriteAt([]byte(logMagic), 0); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "beginning the log of a document")
	}
	l.size = int64(len(logMagic))
	_, err := l.file.Seek(l.size, io.SeekStart)
	return err
}

// put adds a record to what the next flush writes.
func (l *updateLog) put(kind byte, content []byte) {
	l.wrap = appendRecord(l.wrap, kind, content)
}

func appendRecord(b []byte, kind byte, content []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(content)))
	sum := crc32.Update(crc32.Checksum([]byte{kind}, castagnoli), castagnoli, content)
	b = binary.BigEndian.AppendUint32(b, sum)
	b = append(b, kind)
	return append(b, content...)
}

// flush writes what was put, and returns when it is on the disk.
func (l *updateLog) flush() error {
	if len(l.wrap) == 0 {
		return nil
	}
	n, err := l.file.Write(l.wrap)
	l.size += int64(n)
	l.wrap = l.wrap[:0]
	if cap(l.wrap) > 4<<20 {
		l.wrap = nil
	}
	if err == nil {
		err = syncData(l.file)
	}
	return problem.WrapAs(problem.Unavailable, err, "writing the log of a document")
}

// rewrite replaces the log by a short one that says the same.
func (l *updateLog) rewrite(head logHead, state []byte, saved logSaved, marks [][]byte) error {
	fail := func(err error) error {
		return problem.WrapAs(problem.Unavailable, err, "shortening the log of a document")
	}
	name := l.name + ".new"
	f, err := l.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fail(err)
	}
	b := []byte(logMagic)
	b = appendRecord(b, recordHead, mustJSON(head))
	b = appendRecord(b, recordUpdate, state)
	for _, mark := range marks {
		b = appendRecord(b, recordMark, mark)
	}
	b = appendRecord(b, recordSaved, mustJSON(saved))
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = l.root.Rename(name, l.name)
	}
	if err != nil {
		return fail(errors.Join(err, f.Close(), ignoreMissing(l.root.Remove(name))))
	}
	old := l.file
	l.file, l.size = f, int64(len(b))
	return fail(errors.Join(old.Close(), syncDir(l.root)))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncDir(root *os.Root) error {
	d, err := root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// mustJSON marshals a value of ours, which always can be.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("session: " + err.Error())
	}
	return b
}

func (l *updateLog) close() error { return l.file.Close() }
