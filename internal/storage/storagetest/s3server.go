package storagetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// S3ServerVariable names the environment variable that holds the path of the S3
// server to test against, versitygw. `make test` builds it and sets it. Where it
// is not set there are no S3 tests; where it is, what is wrong with the server
// fails them.
const S3ServerVariable = "QUIRE_TEST_S3_SERVER"

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
	binary := os.Getenv(S3ServerVariable)
	if binary == "" {
		t.Logf("%s is not set: no S3 tests", S3ServerVariable)
		return nil
	}
	var err error
	// The port is free when it is chosen; another process may still be faster.
	for range 5 {
		var s *S3Server
		if s, err = start(t, binary); err == nil {
			return s
		}
	}
	t.Fatalf("starting the S3 server %s: %v", binary, err)
	return nil
}

func start(t testing.TB, binary string) (*S3Server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	s := &S3Server{Endpoint: "http://" + address, AccessKey: randomHex(10), SecretKey: randomHex(20)}
	var output bytes.Buffer
	cmd := exec.Command(binary, "--port", address, "--quiet", "posix", t.TempDir())
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+s.AccessKey, "ROOT_SECRET_KEY="+s.SecretKey)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	stop := func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		if err := s.CreateBucket(ctx, "ready"); err == nil {
			t.Cleanup(stop)
			return s, nil
		}
		select {
		case err := <-ended:
			return nil, fmt.Errorf("it ended: %w: %s", err, output.String())
		case <-ctx.Done():
			stop()
			return nil, fmt.Errorf("it does not answer: %s", output.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
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
	req = signer.SignV4(*req, s.AccessKey, s.SecretKey, "", "us-east-1")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		var text strings.Builder
		_ = resp.Write(&text)
		return fmt.Errorf("creating bucket %s: %s", name, text.String())
	}
	return nil
}
