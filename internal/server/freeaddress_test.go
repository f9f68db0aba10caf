package server_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// freeAddress returns an address of this machine for somebody to listen on later,
// and again after a kill. Its port is below those of kernels and below those that
// the system gives away by itself: no connection that is made meanwhile takes it.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(5_000)))
		if err == nil {
			_ = l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}
