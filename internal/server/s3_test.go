package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"quire/internal/storage"
	"quire/internal/storage/remote"
	"quire/internal/storage/storagetest"
)

// bucketOf opens a new bucket of a server.
func bucketOf(t *testing.T, s *storagetest.S3Server) (string, storage.Store) {
	t.Helper()
	name := s.NewBucket(t)
	store, err := remote.OpenS3(remote.S3{Bucket: name, Endpoint: s.Endpoint, AccessKey: s.AccessKey, SecretKey: s.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	return name, store
}

// A site is a running server that is asked as its user.
type site struct{ url string }

func (s site) do(t *testing.T, method, path, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+harnessToken)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, data
}

// get decodes the JSON at path; any status but 2xx fails the test.
func (s site) call(t *testing.T, method, path, body string, v any) {
	t.Helper()
	status, data := s.do(t, method, path, body)
	if status >= 300 {
		t.Fatalf("%s %s: %d %s", method, path, status, data)
	}
	if v != nil {
		if err := json.Unmarshal(data, v); err != nil {
			t.Fatalf("%s %s: %v in %.300s", method, path, err, data)
		}
	}
}

// await asks for a run until it has ended, and returns its state and reason.
func (s site) await(t *testing.T, id string) (state, reason string) {
	t.Helper()
	for end := time.Now().Add(8 * time.Minute); time.Now().Before(end); <-time.After(50 * time.Millisecond) {
		var r struct {
			State, Reason string
			Published     bool
		}
		s.call(t, "GET", "api/runs/"+id, "", &r)
		if r.Published {
			return r.State, r.Reason
		}
	}
	t.Fatalf("run %s does not end", id)
	return "", ""
}

const printing = `{"cells":[
 {"cell_type":"code","id":"p","metadata":{"tags":["parameters"]},"execution_count":null,"source":"who = 'nobody'","outputs":[]},
 {"cell_type":"code","id":"a","metadata":{},"execution_count":null,"source":"print('hello', who)","outputs":[]}],
 "metadata":{"kernelspec":{"name":"python3","display_name":"Python 3","language":"python"}},"nbformat":4,"nbformat_minor":5}`

// TestServerOnS3 runs the real binary with versions, sources and outputs in an
// object store, and a mount of more objects than the store lists at once.
func TestServerOnS3(t *testing.T) {
	t.Parallel()
	s3 := storagetest.StartS3(t)
	if s3 == nil {
		return
	}
	home, objects := bucketOf(t, s3)
	lake, mount := bucketOf(t, s3)
	const many = 1300
	fillBucket(t, mount, many)
	dir := t.TempDir()
	config := filepath.Join(dir, "quire.yaml")
	text := fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\nuser: ann\nobjects: s3://%s/team/quire\nmounts:\n  lake: s3://%s/papermill\nwarmRuns: -1\n", filepath.Join(dir, "data"), home, lake)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{
		"AWS_ENDPOINT_URL_S3=" + s3.Endpoint, "AWS_ACCESS_KEY_ID=" + s3.AccessKey, "AWS_SECRET_ACCESS_KEY=" + s3.SecretKey,
		"AWS_REGION=us-east-1",
	}
	var first string
	t.Run("first start", func(t *testing.T) {
		s := site{startQuire(t, env, "serve", "--config", config)}
		lookAtMount(t, s, many)
		save := fmt.Sprintf(`{"type":"notebook","format":"json","content":%s}`, printing)
		s.call(t, "PUT", "user/ann/api/contents/a.ipynb", save, nil)
		s.call(t, "PUT", "user/ann/api/contents/a.ipynb", strings.ReplaceAll(save, "hello", "good day"), nil)
		if status, data := s.do(t, "GET", "api/versions/users/ann/a.ipynb?number=1", ""); status != 200 || !bytes.Contains(data, []byte("hello")) {
			t.Errorf("the first version: %d %s", status, data)
		}
		if !strings.Contains(os.Getenv("QUIRE_TEST_KERNELS"), "python3") {
			t.Log("QUIRE_TEST_KERNELS has no python3: nothing is run")
			return
		}
		for _, notebook := range []string{"users/ann/a.ipynb", "mounts/lake/nb_00007.ipynb"} {
			var r struct{ ID string }
			s.call(t, "POST", "api/runs", fmt.Sprintf(`{"notebook":%q,"parameters":{"who":"S3"}}`, notebook), &r)
			if state, reason := s.await(t, r.ID); state != "succeeded" {
				t.Errorf("the run of %s is %s: %s", notebook, state, reason)
			}
			first = r.ID
		}
		if _, err := objects.Stat(t.Context(), "team/quire/runs/"+first+"/output.ipynb"); err != nil {
			t.Errorf("the output is not in the store: %v", err)
		}
		_, err := objects.Put(t.Context(), "team/quire/runs/"+first+"/output.ipynb", strings.NewReader("x"), storage.PutOptions{IfNotExist: true})
		if err == nil {
			t.Error("the output could be written a second time")
		}
	})
	t.Run("second start", func(t *testing.T) {
		s := site{startQuire(t, env, "serve", "--config", config)}
		if status, data := s.do(t, "GET", "api/versions/users/ann/a.ipynb?number=2", ""); status != 200 || !bytes.Contains(data, []byte("good day")) {
			t.Errorf("the second version: %d %s", status, data)
		}
		if first == "" {
			return
		}
		if status, data := s.do(t, "GET", "api/runs/"+first+"/output", ""); status != 200 || !bytes.Contains(data, []byte("hello S3")) {
			t.Errorf("the output: %d %.500s", status, data)
		}
	})
	secretNowhere(t, dir, s3.SecretKey)
}

// fillBucket puts notebooks below papermill/.
func fillBucket(t *testing.T, store storage.Store, n int) {
	t.Helper()
	var writers sync.WaitGroup
	numbers := make(chan int)
	for range 8 {
		writers.Go(func() {
			for i := range numbers {
				_, err := store.Put(context.WithoutCancel(t.Context()), fmt.Sprintf("papermill/nb_%05d.ipynb", i), strings.NewReader(printing), storage.PutOptions{})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range n {
		numbers <- i
	}
	close(numbers)
	writers.Wait()
}

// lookAtMount lists a mount whole and in pages.
func lookAtMount(t *testing.T, s site, many int) {
	t.Helper()
	var dir struct{ Content []struct{ Path string } }
	s.call(t, "GET", "api/contents/mounts/lake", "", &dir)
	if len(dir.Content) != many {
		t.Errorf("%d objects are listed, want %d", len(dir.Content), many)
	}
	next, pages, seen := "view/mounts/lake", 0, map[string]bool{}
	for next != "" {
		status, page := s.do(t, "GET", next, "")
		if status != http.StatusOK {
			t.Fatalf("page %d: %d", pages, status)
		}
		for part := range strings.SplitSeq(string(page), `href="/view/mounts/lake/`) {
			if name, _, ok := strings.Cut(part, `"`); ok && strings.HasPrefix(name, "nb_") {
				seen[name] = true
			}
		}
		pages++
		_, after, more := strings.Cut(string(page), `<a class="q-button" href="?`)
		query, _, _ := strings.Cut(after, `"`)
		if next = ""; more {
			next = "view/mounts/lake?" + strings.ReplaceAll(query, "&amp;", "&")
		}
	}
	if len(seen) != many || pages < many/200 {
		t.Errorf("%d pages show %d objects, want %d", pages, len(seen), many)
	}
	if status, _ := s.do(t, "GET", "files/mounts/lake/nb_00007.ipynb", ""); status != http.StatusOK {
		t.Errorf("an object's bytes: %d", status)
	}
	if status, _ := s.do(t, "GET", "view/mounts/lake/nb_00007.ipynb", ""); status != http.StatusOK {
		t.Errorf("an object's page: %d", status)
	}
}

// secretNowhere fails when a file below dir holds the secret.
func secretNowhere(t *testing.T, dir, secret string) {
	t.Helper()
	looked := 0
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went while we looked
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(secret)) {
			t.Errorf("%s holds a secret", path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		looked++
		return err
	})
	if err != nil || looked == 0 {
		t.Errorf("looked at %d files: %v", looked, err)
	}
}
