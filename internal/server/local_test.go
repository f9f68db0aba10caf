package server

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"testing"
)

// TestAddressIsThereWhole: a command that looks for the server as soon as its
// address is there finds all of it.
func TestAddressIsThereWhole(t *testing.T) {
	t.Setenv("XDG_DATA_HOME", t.TempDir())
	var cfg Config
	if err := cfg.validateData(); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &Server{cfg: cfg, listener: l, token: "a-token"}
	if err := os.MkdirAll(cfg.Data, 0o700); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for range 100 {
			if err := s.announce(); err != nil {
				done <- err
				return
			}
		}
	}()
	for {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			return
		default:
		}
		a, err := Local()
		if err == nil && (a.URL != s.URL() || a.Token != s.token) || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("got %+v, %v", a, err)
		}
	}
}
