package auth

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"quire/internal/problem"
	"quire/internal/socket"
)

// A Pass is what a kernel is given to ask the server in its user's name: where
// the server is, and a token that is good for a while.
type Pass struct {
	URL   string `json:"url"`
	Token string `json:"token"`
	// Socket is where the server can be reached from a container without a
	// network: see Relay.
	Socket  string    `json:"socket,omitempty"`
	Expires time.Time `json:"expires"`
}

// PassFile is the name of a pass in the directory that is for a kernel.
const PassFile = "pass.json"

// maxPass is the largest one that is read, in bytes.
const maxPass = 64 << 10

// Issue makes a token of u that expires, for a pass: who asks by it is not the
// person (User.Pass).
func (s *Sessions) Issue(ctx context.Context, u User, life time.Duration) (secret string, expires time.Time, err error) {
	secret, now := NewSecret(), s.now()
	u.Pass = true
	err = s.Store.PutCredential(ctx, Credential{
		Hash: HashOf(secret), User: u, Kind: Token, Created: now, Expires: now.Add(life),
	})
	return secret, now.Add(life), problem.Wrap(err, "making a token for %s", u.Name)
}

// Write writes the pass into a directory, for its owner's eyes only. One that
// is there is replaced as a whole.
func (p Pass) Write(dir string) error {
	data, err := json.Marshal(p)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, ".pass-")
	if err == nil {
		_, err = temp.Write(data)
		if err = errors.Join(err, temp.Close()); err == nil {
			err = os.Rename(temp.Name(), filepath.Join(dir, PassFile))
		}
		if err != nil {
			_ = os.Remove(temp.Name())
		}
	}
	return problem.WrapAs(problem.Unavailable, err, "writing a pass")
}

// ReadPass reads the pass of a directory. It is NotFound where there is none.
func ReadPass(dir string) (Pass, error) {
	var p Pass
	// The directory may be of somebody hostile: no link is followed, and nobody
	// is waited for.
	file, err := os.OpenFile(filepath.Join(dir, PassFile), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return p, problem.New(problem.NotFound, "there is no pass")
	}
	if err == nil {
		defer file.Close()
		err = json.NewDecoder(io.LimitReader(file, maxPass)).Decode(&p)
	}
	return p, problem.WrapAs(problem.Unavailable, err, "reading a pass")
}

// Env is what a kernel is told of the pass in a directory, "NAME=VALUE".
// QUIRE_TOKEN_FILE names the pass, which is renewed while the kernel lives.
func (p Pass) Env(dir string) []string {
	return []string{"QUIRE_URL=" + p.URL, "QUIRE_TOKEN=" + p.Token, "QUIRE_TOKEN_FILE=" + filepath.Join(dir, PassFile)}
}

// Relay makes the pass's address work where its socket is all that leads to the
// server: in a container without a network. It listens on the address, which is
// the container's own, and passes every byte on. Where the address is the
// server's own, or there is no socket, it does nothing. The function that it
// returns ends it.
func (p Pass) Relay() (stop func(), err error) {
	u, err := url.Parse(p.URL)
	if err != nil || p.Socket == "" {
		return func() {}, nil //nolint:nilerr // nothing to relay
	}
	listener, err := net.Listen("tcp", u.Host) //nolint:noctx // at once
	if err != nil {
		return func() {}, nil //nolint:nilerr // somebody answers there: the server
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			done.Go(func() { relay(ctx, conn, p.Socket) })
		}
	})
	return func() {
		cancel()
		_ = listener.Close()
		done.Wait()
	}, nil
}

// relay passes on what comes on a connection, and back, until both have ended.
func relay(ctx context.Context, conn net.Conn, path string) {
	defer conn.Close()
	server, err := socket.Dial(ctx, path)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		_ = server.Close()
	})
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{conn, server}, {server, conn}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			if half, ok := way[0].(interface{ CloseWrite() error }); ok {
				_ = half.CloseWrite()
			}
		})
	}
	both.Wait()
}
