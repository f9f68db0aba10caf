package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/mem"
	"quire/internal/storage/remote"
	"quire/internal/storage/storagetest"
)

// flaky answers the first n requests with fail, then serves.
func flaky(t *testing.T, n int32, fail http.HandlerFunc, serve http.Handler) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var seen atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if seen.Add(1) <= n {
			fail(w, r)
			return
		}
		serve.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server, &seen
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func cut(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		fail http.HandlerFunc
		n    int32
		kind problem.Kind // Internal means success
		seen int32
	}{
		{"429", status(429), 4, problem.Internal, 5},
		{"500", status(500), 2, problem.Internal, 3},
		{"503", status(503), 2, problem.Internal, 3},
		{"cut", cut, 3, problem.Internal, 4},
		{"429 for ever", status(429), 99, problem.Unavailable, 5},
		{"503 for ever", status(503), 99, problem.Unavailable, 5},
		{"cut for ever", cut, 99, problem.Unavailable, 5},
		{"403 is final", status(403), 99, problem.Denied, 1},
		{"401 is final", status(401), 99, problem.Denied, 1},
		{"404 is final", status(404), 99, problem.NotFound, 1},
		{"507", status(507), 99, problem.Unavailable, 1},
	} {
		for _, method := range []string{"get", "put"} {
			t.Run(tt.name+" "+method, func(t *testing.T) {
				t.Parallel()
				store := mem.New(mem.Config{})
				if _, err := storage.PutBytes(t.Context(), store, "a", []byte("data"), storage.PutOptions{}); err != nil {
					t.Fatal(err)
				}
				server, seen := flaky(t, tt.n, tt.fail, files{store})
				s := openWeb(t, remote.Web{Base: server.URL + "/files/", Config: remote.Config{Backoff: time.Microsecond}})
				var err error
				if method == "get" {
					_, _, err = storage.ReadAll(t.Context(), s, "a", 0)
				} else {
					_, err = storage.PutBytes(t.Context(), s, "a", []byte("new"), storage.PutOptions{})
				}
				if tt.kind == problem.Internal && err != nil || tt.kind != problem.Internal && !problem.Is(err, tt.kind) {
					t.Errorf("got %v (%v), want %v", err, problem.KindOf(err), tt.kind)
				}
				if seen.Load() != tt.seen {
					t.Errorf("%d requests were sent, want %d", seen.Load(), tt.seen)
				}
				if err != nil && !strings.Contains(err.Error(), server.URL+"/files/a") {
					t.Errorf("the message does not name the file: %v", err)
				}
			})
		}
	}
}

// A read whose connection breaks in the middle goes on where it was, and notices
// when the file is another one by then.
func TestBrokenRead(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789"), 50_000)
	for _, changes := range []bool{false, true} {
		t.Run(fmt.Sprintf("changes %v", changes), func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				tag := `"one"`
				n := requests.Add(1)
				if changes && n > 1 {
					tag = `"two"`
				}
				w.Header().Set("ETag", tag)
				if n <= 3 {
					w = &cutter{ResponseWriter: w, left: 100_000}
				}
				http.ServeContent(w, r, "", time.Unix(1, 0), bytes.NewReader(data))
			}))
			t.Cleanup(server.Close)
			s := openWeb(t, remote.Web{Base: server.URL + "/"})
			got, _, err := storage.ReadAll(t.Context(), s, "a", 0)
			switch {
			case changes && !problem.Is(err, problem.Conflict):
				t.Errorf("got %d bytes, %v; want Conflict", len(got), err)
			case !changes && (err != nil || !bytes.Equal(got, data)):
				t.Errorf("got %d bytes of %d, %v", len(got), len(data), err)
			}
		})
	}
}

// cutter ends the connection after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

// A file that claims to be longer than what comes is never taken for whole.
func TestTruncatedReadFails(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half")
	}))
	t.Cleanup(server.Close)
	s := openWeb(t, remote.Web{Base: server.URL + "/"})
	if got, _, err := storage.ReadAll(t.Context(), s, "a", 0); !problem.Is(err, problem.Unavailable) {
		t.Errorf("got %q, %v; want Unavailable", got, err)
	}
}

// A server that gives less than it was asked for, and says so, is asked again for
// the rest; where no ETag says that it is the same file, the read fails.
func TestShortRanges(t *testing.T) {
	t.Parallel()
	for _, tag := range []string{`"one"`, ""} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var first int
			if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first); err != nil {
				t.Error(err)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/20", first, first+3))
			if tag != "" {
				w.Header().Set("ETag", tag)
			}
			w.WriteHeader(http.StatusPartialContent)
			_, _ = io.WriteString(w, "0123456789abcdefghij"[first:first+4])
		}))
		t.Cleanup(server.Close)
		s := openWeb(t, remote.Web{Base: server.URL + "/"})
		r, _, err := s.Get(t.Context(), "a", storage.GetOptions{Offset: 2, Length: 12})
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if tag != "" && (err != nil || string(got) != "23456789abcd") {
			t.Errorf("with a tag: got %q, %v", got, err)
		}
		if tag == "" && !problem.Is(err, problem.Unavailable) {
			t.Errorf("without a tag: got %q, %v; want Unavailable", got, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestEndlessAnswerIsBounded(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for block := make([]byte, 4096); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	s := openWeb(t, remote.Web{Base: server.URL + "/", Config: remote.Config{MaxBytes: 1 << 20}})
	if got, _, err := storage.ReadAll(t.Context(), s, "a", 0); !problem.Is(err, problem.TooLarge) {
		t.Errorf("got %d bytes, %v; want TooLarge", len(got), err)
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	s, err := remote.OpenS3(remote.S3{
		Config: remote.Config{Attempts: 2, Backoff: time.Microsecond},
		Bucket: "bucket", Endpoint: "http://" + nobody(t), AccessKey: "KEY", SecretKey: "hunter2",
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = storage.PutBytes(t.Context(), s, "a", nil, storage.PutOptions{})
	checkMessage(t, err, problem.Unavailable, "writing s3://bucket/a", "refused")
}

// nobody returns an address that is taken, so that no other program listens there, and
// not listened on.
func nobody(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	syscall.CloseOnExec(fd)
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", address.(*syscall.SockaddrInet4).Port)
}

// checkMessage wants one line with all the words, and no secret.
func checkMessage(t *testing.T, err error, kind problem.Kind, words ...string) {
	t.Helper()
	if !problem.Is(err, kind) {
		t.Errorf("got %v (%v), want %v", err, problem.KindOf(err), kind)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q is not in the message %q", w, err)
		}
	}
	if strings.ContainsAny(err.Error(), "\n\r") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the message %q has more than one line, or a secret", err)
	}
}

// A host that takes connections and says nothing ends with the caller's deadline,
// and without one with the driver's own.
func TestSilentHost(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	base := "http://user:hunter2@" + l.Addr().String() + "/"

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, _, err = storage.ReadAll(ctx, openWeb(t, remote.Web{Base: base}), "a", 0)
	checkMessage(t, err, problem.Timeout, l.Addr().String()+"/a")

	impatient := remote.Config{Attempts: 2, Stall: 20 * time.Millisecond}
	_, _, err = storage.ReadAll(t.Context(), openWeb(t, remote.Web{Base: base, Config: impatient}), "a", 0)
	checkMessage(t, err, problem.Timeout, l.Addr().String()+"/a", "after 2 attempts")
}

// An answer that stops coming in the middle ends too.
func TestStalledAnswer(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		<-done
	}))
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(done) })
	s := openWeb(t, remote.Web{Base: server.URL + "/", Config: remote.Config{Stall: 500 * time.Millisecond}})
	_, _, err := storage.ReadAll(t.Context(), s, "a", 0)
	checkMessage(t, err, problem.Unavailable, "nothing came for 500ms", server.URL+"/a")
}

func TestSecretsStayOutOfMessages(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(status(http.StatusForbidden))
	t.Cleanup(server.Close)
	base := strings.Replace(server.URL, "http://", "http://user:hunter2@", 1) + "/?sig=hunter2"
	s := openWeb(t, remote.Web{Base: base})
	_, err := s.Stat(t.Context(), "a")
	checkMessage(t, err, problem.Denied, server.URL+"/a")
	server.Close()
	_, err = s.Stat(t.Context(), "a")
	checkMessage(t, err, problem.Unavailable, server.URL+"/a")
	if _, err := remote.OpenWeb(remote.Web{Base: "http://user:hunter2@host\x7f/"}); err != nil {
		checkMessage(t, err, problem.Invalid)
	}
}

// A header with a credential does not follow a redirect to another host.
func TestRedirectDropsCredentials(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got.Store(r.Header.Get("Authorization") + r.Header.Get("X-Token"))
	}))
	t.Cleanup(other.Close)
	first := httptest.NewServer(http.RedirectHandler(other.URL+"/b", http.StatusFound))
	t.Cleanup(first.Close)
	h := http.Header{"Authorization": {"token hunter2"}, "X-Token": {"hunter2"}}
	s := openWeb(t, remote.Web{Base: first.URL + "/", Header: h})
	if _, _, err := storage.ReadAll(t.Context(), s, "a", 0); err != nil {
		t.Fatal(err)
	}
	if got.Load() != "" {
		t.Errorf("the other host got %q", got.Load())
	}
}

func TestS3Failures(t *testing.T) {
	t.Parallel()
	server := storagetest.StartS3(t)
	if server == nil {
		return
	}
	bucket := server.NewBucket(t)
	for _, tt := range []struct {
		name, bucket, access, secret string
		kind                         problem.Kind
		want                         string
	}{
		{"wrong secret", bucket, server.AccessKey, "hunter2", problem.Denied, "credentials were refused"},
		{"unknown key", bucket, "nobody", "hunter2", problem.Denied, "credentials were refused"},
		{"no such bucket", "no-such-bucket", server.AccessKey, server.SecretKey, problem.NotFound, "there is no such bucket"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, err := remote.OpenS3(remote.S3{
				Bucket: tt.bucket, Endpoint: server.Endpoint, AccessKey: tt.access, SecretKey: tt.secret,
			})
			if err != nil {
				t.Fatal(err)
			}
			where := "s3://" + tt.bucket + "/a"
			_, err = storage.PutBytes(t.Context(), s, "a", []byte("x"), storage.PutOptions{})
			checkMessage(t, err, tt.kind, where, tt.want)
			_, _, err = s.Get(t.Context(), "a", storage.GetOptions{})
			checkMessage(t, err, tt.kind, where, tt.want)
			_, err = s.List(t.Context(), storage.ListOptions{})
			checkMessage(t, err, tt.kind, "s3://"+tt.bucket, tt.want)
			if strings.Contains(err.Error(), server.SecretKey) {
				t.Error("the secret key is in the message")
			}
		})
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	for _, bucket := range []string{"", "a", "a/b", "a..b", "a b", "bücket", "-ab", "ab?x", "a@b.c", strings.Repeat("x", 300)} {
		if _, err := remote.OpenS3(remote.S3{Bucket: bucket}); !problem.Is(err, problem.Invalid) {
			t.Errorf("bucket %q: got %v, want Invalid", bucket, err)
		}
	}
	for _, endpoint := range []string{"host:80", "ftp://host", "http://", "http://u:hunter2@host", "http://h/?x"} {
		_, err := remote.OpenS3(remote.S3{Bucket: "bucket", Endpoint: endpoint})
		checkMessage(t, err, problem.Invalid)
	}
}
