package api

import (
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"testing"

	"quire/internal/problem"
)

// TestUnavailableText shows what a person reads of something that does not
// answer: words of ours, and nothing that says where the server keeps things.
func TestUnavailableText(t *testing.T) {
	t.Parallel()
	full := &fs.PathError{Op: "write", Path: "/canary/data/quire.db", Err: syscall.ENOSPC}
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 9, 8, 7), Port: 9000}, Err: syscall.ECONNREFUSED}
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"disk", problem.WrapAs(problem.Unavailable, full, "saving %s", "users/ann/a.ipynb"), "saving users/ann/a.ipynb"},
		{
			"store", problem.Wrap(&problem.Error{
				Kind: problem.Unavailable, Op: "reading s3://canary/runs/1", Msg: "the store does not answer", Err: refused,
			}, "opening the output"), "opening the output: the store does not answer",
		},
		{
			"foreign in between",
			problem.Wrap(fmt.Errorf("GET https://canary: %w", problem.New(problem.Unavailable, "the disk is full")), "saving a"), "saving a: the disk is full",
		},
		{"path in the operation", problem.WrapAs(problem.Unavailable, full, "opening the database /canary/quire.db"), "does not answer now"},
		{"address in the message", problem.New(problem.Unavailable, "no answer from canary:9000"), "does not answer now"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := ErrorText(tt.err)
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want it to say %q", got, tt.want)
			}
			for _, secret := range []string{"canary", "10.9.8.7", "9000", "://"} {
				if strings.Contains(got, secret) {
					t.Errorf("%q names %s", got, secret)
				}
			}
		})
	}
}
