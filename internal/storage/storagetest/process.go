package storagetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// startServer runs a server that listens on an address of its choice until the
// test ends. ready is asked until it succeeds.
func startServer(t testing.TB, env []string, ready func(ctx context.Context, endpoint string) error, command func(host, port, dir string) []string) string {
	t.Helper()
	var err error
	// The port is free when it is chosen; another process may still be faster.
	for range 5 {
		var endpoint string
		if endpoint, err = tryServer(t, env, ready, command); err == nil {
			return endpoint
		}
	}
	t.Fatalf("starting a server to test against: %v", err)
	return ""
}

func tryServer(t testing.TB, env []string, ready func(context.Context, string) error, command func(host, port, dir string) []string) (string, error) {
	host, port, err := freeAddress()
	if err != nil {
		return "", err
	}
	args := command(host, port, t.TempDir())
	var output bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		return "", err
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
	endpoint := "http://" + net.JoinHostPort(host, port)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for {
		readyErr := ready(ctx, endpoint)
		if readyErr == nil {
			t.Cleanup(stop)
			return endpoint, nil
		}
		select {
		case err := <-ended:
			return "", fmt.Errorf("%s ended: %w: %s", args[0], err, output.String())
		case <-ctx.Done():
			stop()
			return "", fmt.Errorf("%s does not answer: %w: %s", args[0], readyErr, output.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func freeAddress() (host, port string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	if host, port, err = net.SplitHostPort(l.Addr().String()); err != nil {
		return "", "", err
	}
	return host, port, l.Close()
}

func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
