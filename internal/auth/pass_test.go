package auth

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"quire/internal/problem"
)

func TestIssue(t *testing.T) {
	t.Parallel()
	ctx, now := context.Background(), time.Date(2018, 5, 8, 0, 0, 0, 0, time.UTC)
	s := &Sessions{Store: newMemStore(), Now: func() time.Time { return now }}
	token, expires, err := s.Issue(ctx, User{Name: "ann"}, time.Hour)
	if err != nil || !expires.Equal(now.Add(time.Hour)) {
		t.Fatalf("issued until %v: %v", expires, err)
	}
	if u, err := s.Token(ctx, token); err != nil || u.Name != "ann" || u.Admin {
		t.Errorf("the token stands for %v: %v", u, err)
	}
	now = expires
	if _, err := s.Token(ctx, token); !problem.Is(err, problem.Denied) {
		t.Errorf("a token that has expired is good: %v", err)
	}
}

func TestPassFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := ReadPass(dir); !problem.Is(err, problem.NotFound) {
		t.Fatalf("no pass: %v", err)
	}
	for _, token := range []string{"the first token of all", "another one"} {
		if err := (Pass{URL: "http://127.0.0.1:1/", Token: token}).Write(dir); err != nil {
			t.Fatal(err)
		}
		if p, err := ReadPass(dir); err != nil || p.Token != token {
			t.Errorf("read %+v: %v", p, err)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, PassFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: %v", info.Mode(), err)
	}
	// A directory of somebody hostile: neither followed nor waited for.
	for name, plant := range map[string]func(string) error{
		"link": func(at string) error { return os.Symlink("/etc/passwd", at) },
		"pipe": func(at string) error { return syscall.Mkfifo(at, 0o600) },
	} {
		at := t.TempDir()
		if err := plant(filepath.Join(at, PassFile)); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadPass(at); err == nil {
			t.Errorf("%s: it was read", name)
		}
	}
}

func TestRelay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	server, err := net.Listen("unix", filepath.Join(dir, "socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			data, _ := io.ReadAll(conn)
			_, _ = io.WriteString(conn, strings.ToUpper(string(data)))
			_ = conn.Close()
		}
	}()
	var got string
	for range 20 { // another program may take the port that was free
		if got = throughRelay(t, filepath.Join(dir, "socket"), "hello"); got == "HELLO" {
			return
		}
	}
	t.Errorf("got %q", got)
}

// throughRelay says something to a relay on a port that was free, and returns what
// the server behind it answers.
func throughRelay(t *testing.T, socket, words string) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	_ = free.Close()
	stop, err := Pass{URL: "http://" + address + "/", Socket: socket}.Relay()
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	_, _ = io.WriteString(conn, words)
	_ = conn.(*net.TCPConn).CloseWrite()
	data, err := io.ReadAll(conn)
	if err != nil {
		return err.Error()
	}
	return string(data)
}
