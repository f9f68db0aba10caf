package server

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/socket"
)

// ending makes Ann a notebook server that is killed when it has taken two
// connections, and answers none.
func ending(t *testing.T, b *bundle) *personal {
	t.Helper()
	p := b.spawn.of("ann")
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"token": auth.NewSecret(), baseFile: "", endedFile: "it had nothing to do"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	l, err := socket.Listen(filepath.Join(p.dir, socketFile))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = l.(*net.UnixListener).SetDeadline(time.Now().Add(time.Minute))
		var taken []net.Conn
		for range 2 {
			conn, err := l.Accept()
			if err != nil {
				t.Error(err)
				break
			}
			taken = append(taken, conn)
		}
		_ = l.Close()
		for _, conn := range taken {
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return p
}

// TestServerThatEndsMeanwhile looks at a notebook server, and stops it, in the
// moment in which it ends: between a look whether it answers and a request.
func TestServerThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(context.Context, *bundle, *personal) error{
		"looked at": func(ctx context.Context, b *bundle, p *personal) error {
			st, err := b.spawn.status(ctx, p)
			if st.Running || st.Ended != "it had nothing to do" {
				t.Errorf("it is shown as %+v", st)
			}
			return err
		},
		"stopped": func(ctx context.Context, _ *bundle, p *personal) error { return p.stop(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if err := use(t.Context(), b, ending(t, b)); err != nil {
				t.Error(err)
			}
		})
	}
}
