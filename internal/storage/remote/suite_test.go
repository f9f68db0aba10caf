package remote_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/mem"
	"quire/internal/storage/remote"
	"quire/internal/storage/storagetest"
)

func TestS3(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	if server == nil {
		return
	}
	storagetest.Suite{
		KeepsContentType: true,
		Open: func(t *testing.T) storage.Store {
			s, err := remote.OpenS3(remote.S3{
				Bucket:    server.NewBucket(t),
				Endpoint:  server.Endpoint,
				AccessKey: server.AccessKey,
				SecretKey: server.SecretKey,
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	}.Run(t)
}

func TestWeb(t *testing.T) {
	t.Parallel()
	storagetest.Suite{
		CannotList:       true,
		KeepsContentType: true,
		Open: func(t *testing.T) storage.Store {
			server := httptest.NewServer(files{mem.New(mem.Config{})})
			t.Cleanup(server.Close)
			return openWeb(t, remote.Web{Base: server.URL + "/files/"})
		},
	}.Run(t)
}

func openWeb(t *testing.T, cfg remote.Web) *remote.Store {
	t.Helper()
	if cfg.Backoff == 0 {
		cfg.Backoff = time.Millisecond
	}
	s, err := remote.OpenWeb(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// files is a web server that takes GET, HEAD, PUT and DELETE with HTTP's
// conditions, over the store in memory.
type files struct{ store storage.Store }

func (f files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/files/")
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		f.get(w, r, path)
	case http.MethodPut:
		opt := storage.PutOptions{
			ContentType: r.Header.Get("Content-Type"),
			IfNotExist:  r.Header.Get("If-None-Match") == "*",
			IfMatch:     strings.Trim(r.Header.Get("If-Match"), `"`),
		}
		info, err := f.store.Put(r.Context(), path, r.Body, opt)
		if answer(w, err) {
			w.Header().Set("ETag", `"`+info.ETag+`"`)
			w.WriteHeader(http.StatusCreated)
		}
	case http.MethodDelete:
		if answer(w, f.store.Delete(r.Context(), path)) {
			w.WriteHeader(http.StatusNoContent)
		}
	}
}

func (f files) get(w http.ResponseWriter, r *http.Request, path string) {
	data, info, err := storage.ReadAll(r.Context(), f.store, path, 0)
	if !answer(w, err) {
		return
	}
	w.Header().Set("ETag", `"`+info.ETag+`"`)
	w.Header().Set("Content-Type", info.ContentType)
	http.ServeContent(w, r, "", info.ModTime, strings.NewReader(string(data)))
}

func answer(w http.ResponseWriter, err error) bool {
	status := map[problem.Kind]int{
		problem.NotFound: http.StatusNotFound, problem.Exists: http.StatusPreconditionFailed,
		problem.Conflict: http.StatusPreconditionFailed, problem.Invalid: http.StatusBadRequest,
	}[problem.KindOf(err)]
	if err != nil {
		w.WriteHeader(max(status, 400))
		_, _ = io.WriteString(w, "no")
	}
	return err == nil
}

func TestGCS(t *testing.T) {
	t.Parallel()
	server := storagetest.StartGCS(t)
	if server == nil {
		return
	}
	storagetest.Suite{
		KeepsContentType: true,
		OneFolderPage:    true, // fake-gcs-server 1.56 repeats the folders on every page
		Open: func(t *testing.T) storage.Store {
			s, err := remote.OpenGCS(remote.GCS{Bucket: server.NewBucket(t), Endpoint: server.Endpoint})
			if err != nil {
				t.Fatal(err)
			}
			return s
		},
	}.Run(t)
}
