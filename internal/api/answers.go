package api

import (
	"bytes"
	"compress/gzip"
	"container/list"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of answers, in bytes and time.
const (
	maxAnswers = 32 << 20
	maxKept    = 8 << 20
	minAnswer  = 16 << 10 // smaller ones are made faster than they are kept
	// settled is how old a change must be for its time to tell it from the next:
	// file systems count in steps.
	settled = 2 * time.Second
)

// answers keeps the bytes of answers that took work to make, for as long as
// what they tell of has the same tag. The longest unused go first. The zero
// value is empty and ready; it is safe for concurrent use.
type answers struct {
	mu    sync.Mutex
	bytes int
	byKey map[string]*list.Element // of *answer
	used  list.List                // newest first
}

type answer struct {
	key, tag string // tag is the state of what the answer tells of
	etag     string // of a directory: made of the bytes
	body     []byte
	once     sync.Once
	zipped   []byte // nil before the second client wants it, or when it saves nothing
	hits     atomic.Int64
}

// get returns the answer for key, nil when there is none with the tag.
func (c *answers) get(key, tag string) *answer {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return nil
	}
	a := e.Value.(*answer)
	if a.tag != tag {
		c.removeLocked(e)
		return nil
	}
	a.hits.Add(1)
	c.used.MoveToFront(e)
	return a
}

// keep keeps an answer, whose body must not be changed any more.
func (c *answers) keep(key, tag string, a *answer) {
	a.key, a.tag = key, tag
	if len(a.body) < minAnswer || len(a.body) > maxKept {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey == nil {
		c.byKey = map[string]*list.Element{}
	}
	if old := c.byKey[key]; old != nil {
		c.removeLocked(old)
	}
	c.byKey[key] = c.used.PushFront(a)
	c.bytes += len(a.body)
	for c.bytes > maxAnswers {
		c.removeLocked(c.used.Back())
	}
}

func (c *answers) removeLocked(e *list.Element) {
	a := c.used.Remove(e).(*answer)
	delete(c.byKey, a.key)
	c.bytes -= len(a.body)
}

// write sends the answer as JSON, compressed where the client takes it and
// somebody asked before.
func (a *answer) write(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Add("Vary", "Accept-Encoding")
	body := a.body
	if a.hits.Load() > 0 && acceptsGzip(r) {
		if z := a.compressed(); z != nil {
			body = z
			h.Set("Content-Encoding", "gzip")
			if tag := h.Get("ETag"); tag != "" {
				h.Set("ETag", "W/"+tag)
			}
		}
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, err := w.Write(body)
	return err
}

func (a *answer) compressed() []byte {
	a.once.Do(func() {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed) // the level is a right one
		_, _ = z.Write(a.body)                          // to memory
		_ = z.Close()
		if b.Len() < len(a.body)*9/10 {
			a.zipped = bytes.Clone(b.Bytes())
		}
	})
	return a.zipped
}

// acceptsGzip reports whether a client says that it takes gzip; "gzip;q=0" is
// that it does not.
func acceptsGzip(r *http.Request) bool {
	for one := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, q, _ := strings.Cut(strings.TrimSpace(one), ";")
		if strings.TrimSpace(name) == "gzip" {
			return strings.ReplaceAll(q, " ", "") != "q=0"
		}
	}
	return false
}
