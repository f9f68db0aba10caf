package server

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/storagetest"
)

func TestOpenPathRemote(t *testing.T) {
	t.Setenv("AZURE_STORAGE_ACCOUNT", "account")
	for _, tt := range []struct{ name, path, location string }{
		{"s3://bucket/a/b c.ipynb", "a/b c.ipynb", "s3://bucket/a/b c.ipynb"},
		{"S3://bucket/a", "a", "s3://bucket/a"},
		{"gs://bucket/a/b", "a/b", "gs://bucket/a/b"},
		{"az://container/a/b", "a/b", "az://container/a/b"},
		{"abs://account.blob.core.windows.net/container/a/b?sig=hunter2", "a/b", "az://container/a/b"},
		{"http://user:hunter2@host/dir/a.ipynb?token=hunter2", "a.ipynb", "http://host/dir/a.ipynb"},
		{"https://github.com/o/r/blob/main/d/a.ipynb", "a.ipynb", "https://raw.githubusercontent.com/o/r/main/d/a.ipynb"},
	} {
		s, p, err := OpenPath(context.Background(), tt.name)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if p != tt.path || s.Location(p) != tt.location {
			t.Errorf("%s: got %q at %s, want %q at %s", tt.name, p, s.Location(p), tt.path, tt.location)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenPathRefusesRemote(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"s3://", "s3://bucket", "s3://bucket/", "s3:///key", "s3://bucket/a//b", "s3://bucket/../x", "s3://bucket/a/",
		"s3://user:hunter2@bucket/key", "gs://b/k", "abs://account/container/a", "http://", "http://host", "http://host/dir/",
		"http://user:hunter2@ho st/a", "https://user:hunter2@host/a%zz",
	} {
		_, _, err := OpenPath(context.Background(), name)
		if !problem.Is(err, problem.Invalid) {
			t.Errorf("%s: got %v, want Invalid", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is in the message: %v", err)
		}
	}
}

func TestOpenPathS3(t *testing.T) {
	server := storagetest.StartS3(t)
	if server == nil {
		return
	}
	bucket := server.NewBucket(t)
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
	for _, variable := range []string{"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "BOTO3_ENDPOINT_URL"} {
		t.Run(variable, func(t *testing.T) {
			t.Setenv(variable, server.Endpoint)
			s, p, err := OpenPath(t.Context(), "s3://"+bucket+"/dir/"+variable)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			if _, err := storage.PutBytes(t.Context(), s, p, []byte("x"), storage.PutOptions{IfNotExist: true}); err != nil {
				t.Fatal(err)
			}
			if data, _, err := storage.ReadAll(t.Context(), s, p, 10); err != nil || string(data) != "x" {
				t.Errorf("got %q, %v", data, err)
			}
		})
	}
}

func TestOpenPathWeb(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		_, _ = io.WriteString(w, r.URL.RequestURI()+" "+user+" "+password)
	}))
	t.Cleanup(server.Close)
	name := strings.Replace(server.URL, "://", "://me:secret@", 1) + "/d%20e/a%2Bb.ipynb?x=1"
	s, p, err := OpenPath(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	data, _, err := storage.ReadAll(t.Context(), s, p, 0)
	if want := "/d%20e/a%2Bb.ipynb?x=1 me secret"; err != nil || string(data) != want {
		t.Errorf("the server saw %q, %v; want %q", data, err, want)
	}
}
