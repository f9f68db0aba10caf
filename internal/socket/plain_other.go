//go:build !linux

package socket

// withPlain calls do with a path of the socket. Nobody hostile shares its
// folder here: notebook servers are plain processes of our own user.
func withPlain(path string, do func(string) error) error { return withPath(path, do) }
