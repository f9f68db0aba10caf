//go:build linux

package computetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Listen listens on the loopback address of the daemon's own network.
func (d *Docker) Listen() (net.Listener, error) {
	type result struct {
		net.Listener
		err error
	}
	done := make(chan result)
	go func() { // its thread ends with it, since it stays locked: no other work gets into that network
		runtime.LockOSThread()
		l, err := d.listen()
		done <- result{l, err}
	}()
	r := <-done
	return r.Listener, r.err
}

func (d *Docker) listen() (net.Listener, error) {
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/net", d.daemon.Process.Pid), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(ns)
	if err := unix.Setns(ns, unix.CLONE_NEWNET); err != nil {
		return nil, err
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return nil, err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		return nil, err
	}
	return net.Listen("tcp4", "127.0.0.1:0")
}

// A Registry has one image, of one layer, of which it gives the second half only
// when it is told to.
type Registry struct {
	Image string // its reference, by digest
	Layer int64  // bytes of its layer
	GoOn  func() // gives the rest
}

// StartRegistry starts a registry that the daemon can reach. It ends with the
// test.
func (d *Docker) StartRegistry(t testing.TB) *Registry {
	t.Helper()
	l, err := d.Listen()
	if err != nil {
		t.Fatal(err)
	}
	layer, diff := layerOf(t)
	digest := func(data []byte) string {
		sum := sha256.Sum256(data)
		return "sha256:" + hex.EncodeToString(sum[:])
	}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	config := encode(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{digest(diff)}},
	})
	const kind = "application/vnd.docker.distribution.manifest.v2+json"
	manifest := encode(map[string]any{
		"schemaVersion": 2, "mediaType": kind,
		"config": map[string]any{"mediaType": "application/vnd.docker.container.image.v1+json", "size": len(config), "digest": digest(config)},
		"layers": []any{map[string]any{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": len(layer), "digest": digest(layer)}},
	})
	goOn := make(chan struct{})
	release := func() {
		select {
		case <-goOn:
		default:
			close(goOn)
		}
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		give := func(data []byte, kind string) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Docker-Content-Digest", digest(data))
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			half := len(data)
			if len(data) == len(layer) {
				half /= 2
			}
			if _, err := w.Write(data[:half]); err != nil || half == len(data) {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-goOn:
			case <-r.Context().Done():
				return
			}
			_, _ = w.Write(data[half:])
		}
		switch path := r.URL.Path; {
		case path == "/v2/":
		case strings.HasPrefix(path, "/v2/team/notebook/manifests/"):
			give(manifest, kind)
		case strings.HasSuffix(path, digest(config)):
			give(config, "application/octet-stream")
		case strings.HasSuffix(path, digest(layer)):
			give(layer, "application/octet-stream")
		default:
			http.NotFound(w, r)
		}
	})}
	ended := make(chan error, 1)
	go func() { ended <- web.Serve(l) }()
	t.Cleanup(func() {
		release()
		_ = web.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return &Registry{Image: l.Addr().String() + "/team/notebook@" + digest(manifest), Layer: int64(len(layer)), GoOn: release}
}

// layerOf makes a layer, packed and not, that nothing makes smaller.
func layerOf(t testing.TB) (packed, plain []byte) {
	t.Helper()
	content := make([]byte, 4<<20)
	source := rand.NewChaCha8([32]byte{1})
	_, _ = source.Read(content)
	var tree, out bytes.Buffer
	w := tar.NewWriter(&tree)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "data", Size: int64(len(content)), Mode: 0o644})
	if err == nil {
		_, err = w.Write(content)
	}
	z := gzip.NewWriter(&out)
	if err = errors.Join(err, w.Close()); err == nil {
		_, err = z.Write(tree.Bytes())
	}
	if err = errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), tree.Bytes()
}
