package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
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
