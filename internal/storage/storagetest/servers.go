package storagetest

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// The environment variables that name the servers to test against. Where one is
// not set there are no such tests; where it is, what is wrong with the server
// fails them.
const (
	// S3ServerVariable holds the path of versitygw, an S3 server. `make test`
	// builds it and sets it.
	S3ServerVariable = "QUIRE_TEST_S3_SERVER"
	// GCSServerVariable holds the path of fake-gcs-server.
	GCSServerVariable = "QUIRE_TEST_GCS_SERVER"
	// AzureServerVariable holds the path of azurite-blob, a program for Node.
	AzureServerVariable = "QUIRE_TEST_AZURE_SERVER"
)

// wanted returns the server that a variable names.
func wanted(t testing.TB, variable string) (string, bool) {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Logf("%s is not set: nothing to test against", variable)
	}
	return path, path != ""
}

// S3Server is a running S3 server with credentials and a folder of its own.
type S3Server struct {
	Endpoint  string // http://127.0.0.1:port
	AccessKey string
	SecretKey string

	buckets atomic.Int64
}

// StartS3 starts an S3 server that ends with the test. It returns nil where
// S3ServerVariable is not set.
func StartS3(t testing.TB) *S3Server {
	t.Helper()
	binary, ok := wanted(t, S3ServerVariable)
	if !ok {
		return nil
	}
	s := &S3Server{AccessKey: randomHex(10), SecretKey: randomHex(20)}
	ready := func(ctx context.Context, endpoint string) error {
		s.Endpoint = endpoint
		return s.CreateBucket(ctx, "ready")
	}
	env := []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey}
	s.Endpoint = startServer(t, env, ready, func(host, port, dir string) []string {
		return []string{binary, "--port", host + ":" + port, "--quiet", "posix", dir}
	})
	return s
}

// NewBucket makes an empty bucket and returns its name.
func (s *S3Server) NewBucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", s.buckets.Add(1))
	if err := s.CreateBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}

// CreateBucket makes a bucket.
func (s *S3Server) CreateBucket(ctx context.Context, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.Endpoint+"/"+name, http.NoBody)
	if err != nil {
		return err
	}
	const emptySum = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	req.Header.Set("X-Amz-Content-Sha256", emptySum)
	return created(signer.SignV4(*req, s.AccessKey, s.SecretKey, "", "us-east-1"))
}

// created sends a request that makes a bucket.
func created(req *http.Request) error {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode >= 300 {
		return fmt.Errorf("making a bucket: %s: %.500s", resp.Status, body)
	}
	return nil
}

// GCSServer is a running stand-in for Google Cloud Storage.
type GCSServer struct {
	Endpoint string
	buckets  atomic.Int64
}

// StartGCS starts a server for Google Cloud Storage's API that ends with the
// test. It returns nil where GCSServerVariable is not set.
func StartGCS(t testing.TB) *GCSServer {
	t.Helper()
	binary, ok := wanted(t, GCSServerVariable)
	if !ok {
		return nil
	}
	s := &GCSServer{}
	ready := func(ctx context.Context, endpoint string) error {
		s.Endpoint = endpoint
		return s.createBucket(ctx, "ready")
	}
	s.Endpoint = startServer(t, nil, ready, func(host, port, _ string) []string {
		return []string{
			binary, "-scheme", "http", "-host", host, "-port", port, "-backend", "memory",
			"-external-url", "http://" + host + ":" + port, "-log-level", "error",
		}
	})
	return s
}

// NewBucket makes an empty bucket and returns its name.
func (s *GCSServer) NewBucket(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("bucket-%d", s.buckets.Add(1))
	if err := s.createBucket(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	return name
}

func (s *GCSServer) createBucket(ctx context.Context, name string) error {
	body := strings.NewReader(`{"name":"` + name + `"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Endpoint+"/storage/v1/b?project=test", body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	return created(req)
}

// AzureServer is a running stand-in for Azure Blob Storage.
type AzureServer struct {
	Endpoint string // with the account's name at the end
	Account  string
	Key      string // base64
	buckets  atomic.Int64
}

// StartAzure starts a server for Azure Blob Storage's API that ends with the
// test. It returns nil where AzureServerVariable is not set.
func StartAzure(t testing.TB) *AzureServer {
	t.Helper()
	program, ok := wanted(t, AzureServerVariable)
	if !ok {
		return nil
	}
	s := &AzureServer{Account: "quire" + randomHex(4), Key: base64.StdEncoding.EncodeToString([]byte(randomHex(32)))}
	ready := func(ctx context.Context, endpoint string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, http.NoBody)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}
	s.Endpoint = startServer(t, []string{"AZURITE_ACCOUNTS=" + s.Account + ":" + s.Key}, ready, func(host, port, _ string) []string {
		return []string{
			"node", program, "--blobHost", host, "--blobPort", port,
			"--inMemoryPersistence", "--disableTelemetry", "--silent",
		}
	}) + "/" + s.Account
	return s
}

// NewContainer makes an empty container with create, which signs and sends a PUT
// of the URL that it is given, and returns the container's name.
func (s *AzureServer) NewContainer(t testing.TB, create func(url string) error) string {
	t.Helper()
	name := fmt.Sprintf("container-%d", s.buckets.Add(1))
	if err := create(s.Endpoint + "/" + name + "?restype=container"); err != nil {
		t.Fatal(err)
	}
	return name
}
