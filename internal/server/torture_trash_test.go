package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// A binBook is what clients deleted: file name to whether the deleting was
// acknowledged.
type binBook struct {
	mu    sync.Mutex
	files map[string]bool
}

// deleter saves files and deletes them, until ctx ends.
func (v *victim) deleter(ctx context.Context, book *binBook) {
	book.files = map[string]bool{}
	for n := 0; ctx.Err() == nil; n++ {
		name := fmt.Sprintf("bin%d.ipynb", n)
		status, ambiguous := v.call(ctx, "PUT", "/user/ann/api/contents/"+name, map[string]any{
			"type": "notebook", "format": "json", "content": json.RawMessage(bodyOf(1000, n)),
		}, nil)
		if ambiguous || status > 201 {
			continue
		}
		status, ambiguous = v.call(ctx, "DELETE", "/user/ann/api/contents/"+name, nil, nil)
		if !ambiguous && status != http.StatusNoContent {
			v.t.Errorf("deleting %s is answered with %d", name, status)
		}
		book.mu.Lock()
		book.files[name] = !ambiguous
		book.mu.Unlock()
	}
}

// judgeBin asks whether what was deleted is in the trash, whole, and what may
// have been is there or in its place. It returns how many files there were.
func (v *victim) judgeBin(book *binBook) int {
	v.t.Helper()
	for name, acked := range book.files {
		found, _ := filepath.Glob(filepath.Join(v.data, "files/users/ann/.trash/*", name))
		place := filepath.Join(v.data, "files/users/ann", name)
		if _, err := os.Stat(place); err == nil {
			if acked {
				v.t.Errorf("%s was deleted and is still there", name)
			}
			found = append(found, place)
		}
		if len(found) != 1 {
			v.t.Errorf("%s, deleted (acknowledged: %v), is in %d places", name, acked, len(found))
			continue
		}
		var n int
		_, _ = fmt.Sscanf(name, "bin%d", &n)
		if data, err := os.ReadFile(found[0]); err != nil || string(data) != string(bodyOf(1000, n)) {
			v.t.Errorf("%s came out of the trash with %d other bytes, %v", name, len(data), err)
		}
	}
	return len(book.files)
}

// A churnFile is a file of a churner.
type churnFile struct {
	name   string
	body   []byte
	acked  bool // its save was
	looked bool // its bytes were asked for, and it is being removed
}

// churnBodies is how many bodies a churner has. They are saved and removed each at
// times of its own, so that at any moment some of them are doomed.
const churnBodies = 12

// A churnBody is a body of a churner: in a file, or gone from everywhere.
type churnBody struct {
	file churnFile
	held bool
	due  time.Time // when that is to change
}

// churner saves the same few bodies again and again, so that their bytes lose
// their last version and get a new one while the server frees them: what is gone
// is doomed after freeAfter and freed after twice that, and the next file with it
// comes before, between and after. It stays for as long again, and is opened
// before it is removed for good. What there is when ctx ends is returned.
func (v *victim) churner(ctx context.Context, freeAfter time.Duration) []churnFile {
	rng := rand.New(rand.NewPCG(2000, 11))
	within := func(d time.Duration) time.Time { return time.Now().Add(time.Duration(rng.Int64N(int64(d)))) }
	bodies := make([]*churnBody, churnBodies)
	rename := func(b *churnBody, n int) {
		b.file = churnFile{name: fmt.Sprintf("churn%d.ipynb", n), body: b.file.body}
	}
	for i := range bodies {
		bodies[i] = &churnBody{file: churnFile{body: bodyOf(2000, i)}}
		rename(bodies[i], i)
	}
	for names := len(bodies); ; {
		b := slices.MinFunc(bodies, func(x, y *churnBody) int { return x.due.Compare(y.due) })
		select {
		case <-ctx.Done():
			var left []churnFile
			for _, b := range bodies {
				if !b.file.looked {
					left = append(left, b.file)
				}
			}
			return left
		case <-time.After(time.Until(b.due)):
		}
		switch {
		case !b.held && v.saveChurn(ctx, &b.file):
			b.held, b.due = true, within(4*freeAfter)
		case b.held && v.removeChurn(ctx, &b.file):
			b.held, b.due = false, within(3*freeAfter)
			rename(b, names)
			names++
		default:
			b.due = time.Now().Add(freeAfter / 50) // the server is away
		}
	}
}

func (v *victim) saveChurn(ctx context.Context, f *churnFile) bool {
	status, ambiguous := v.call(ctx, "PUT", "/user/ann/api/contents/"+f.name, map[string]any{
		"type": "notebook", "format": "json", "content": json.RawMessage(f.body),
	}, nil)
	f.acked = !ambiguous && status < 300
	return f.acked
}

// removeChurn looks at a file once more, deletes it and removes it for good. It
// reports whether no version of it is left: one that stays by oversight would
// keep its bytes from ever being freed.
func (v *victim) removeChurn(ctx context.Context, f *churnFile) bool {
	f.looked = f.looked || v.judgeChurn(ctx, *f)
	if !f.looked {
		return false
	}
	status, _ := v.call(ctx, "DELETE", "/user/ann/api/contents/"+f.name, nil, nil)
	if status != http.StatusNoContent && status != http.StatusNotFound {
		return false
	}
	var page struct {
		Deleted []struct{ ID, Path string }
	}
	if status, ambiguous := v.call(ctx, "GET", "/api/trash/users/ann", nil, &page); ambiguous || status != 200 {
		return false
	}
	for _, d := range page.Deleted {
		if filepath.Base(d.Path) != f.name {
			continue
		}
		if status, ambiguous := v.call(ctx, "DELETE", "/api/trash/users/ann?id="+d.ID, nil, nil); ambiguous || status != 200 {
			return false
		}
	}
	return true
}

// judgeChurn asks for the bytes of what was saved, and reports whether the server
// answered.
func (v *victim) judgeChurn(ctx context.Context, f churnFile) bool {
	v.t.Helper()
	var data []byte
	status, ambiguous, text := v.ask(ctx, "GET", "/api/versions/users/ann/"+f.name+"?number=1", nil, nil, &data)
	switch {
	case status == 0 || ambiguous && status == http.StatusServiceUnavailable:
		return false
	case status == 404 && !f.acked && !strings.Contains(text, "opening version"):
	case status == 200 && string(data) == string(f.body):
	default:
		v.t.Errorf("the bytes of %s, which has a version, are answered with %d: %.300s", f.name, status, text)
	}
	return true
}

// sweeps counts how often the server says that it freed something.
func (v *victim) sweeps() int {
	text, _ := os.ReadFile(v.log.Name())
	return strings.Count(string(text), "bytes that no version named are freed")
}
