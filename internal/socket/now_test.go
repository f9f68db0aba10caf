package socket_test

import (
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"quire/internal/socket"
)

func TestReadNow(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := w.WriteString("there in time"); err != nil {
		t.Fatal(err)
	}
	if err := r.SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 8)
	if n, err := r.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%q, %v: a deadline that has passed does not matter", b[:n], err)
	}
	got := ""
	for {
		n, err := socket.ReadNow(r, b)
		got += string(b[:n])
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if got != "there in time" {
		t.Errorf("read %q", got)
	}
	if _, err := r.Read(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("afterwards: %v", err)
	}
	_ = w.Close()
	if _, err := socket.ReadNow(r, b); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}
