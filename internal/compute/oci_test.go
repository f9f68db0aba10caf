package compute

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/internal/problem"
)

// layoutOf writes an image of the layers into a folder and returns the digest of
// its manifest.
func layoutOf(t *testing.T, dir string, layers ...[]tar.Header) string {
	t.Helper()
	blob := func(data []byte) string {
		t.Helper()
		sum := sha256.Sum256(data)
		name := hex.EncodeToString(sum[:])
		if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		return "sha256:" + name
	}
	var all []descriptor
	for i, entries := range layers {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		w := tar.NewWriter(zip)
		for _, h := range entries {
			body := h.Uname // the content, which a header has no place for
			h.Uname = ""
			if h.Mode == 0 {
				h.Mode = 0o755
			}
			h.Size = int64(len(body))
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte(body)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		kind, data := "application/vnd.oci.image.layer.v1.tar+gzip", b.Bytes()
		_ = i
		all = append(all, descriptor{MediaType: kind, Digest: blob(data), Size: int64(len(data))})
	}
	encode := func(v any) []byte {
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	manifest := blob(encode(map[string]any{"schemaVersion": 2, "layers": all}))
	index := encode(map[string]any{"schemaVersion": 2, "manifests": []descriptor{{Digest: manifest}}})
	if err := os.WriteFile(filepath.Join(dir, "index.json"), index, 0o644); err != nil {
		t.Fatal(err)
	}
	return manifest
}

func file(name, text string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Uname: text}
}

func TestUnpackImage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	digest := layoutOf(
		t, dir,
		[]tar.Header{
			{Typeflag: tar.TypeDir, Name: "usr/bin/"},
			{Typeflag: tar.TypeSymlink, Name: "bin", Linkname: "usr/bin"},
			file("bin/tool", "one"), file("etc/gone", "x"), file("opt/a", "a"), file("opt/b", "b"),
			{Typeflag: tar.TypeChar, Name: "dev/null"},
		},
		[]tar.Header{
			file("./usr/bin/tool", "two"), file("etc/.wh.gone", ""), file("opt/.wh..wh..opq", ""), file("opt/c", "c"),
			{Typeflag: tar.TypeLink, Name: "usr/bin/same", Linkname: "usr/bin/tool"},
			{Typeflag: tar.TypeReg, Name: "usr/bin/su", Mode: 0o4755},
		},
	)
	tarred := filepath.Join(t.TempDir(), "image.tar")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tarred, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, layout := range []string{dir, tarred} {
		folder := filepath.Join(t.TempDir(), "image")
		got, err := UnpackImage(layout, folder)
		if err != nil || got != digest {
			t.Fatalf("%s: %s, %v", layout, got, err)
		}
		for name, want := range map[string]string{"usr/bin/tool": "two", "bin/tool": "two", "usr/bin/same": "two", "opt/c": "c"} {
			if data, err := os.ReadFile(filepath.Join(folder, name)); err != nil || string(data) != want {
				t.Errorf("%s holds %q, %v", name, data, err)
			}
		}
		for _, name := range []string{"etc/gone", "opt/a", "opt/b", "dev/null", "etc/.wh.gone"} {
			if _, err := os.Lstat(filepath.Join(folder, name)); err == nil {
				t.Errorf("%s is there", name)
			}
		}
		if info, err := os.Stat(filepath.Join(folder, "usr/bin/su")); err != nil || info.Mode()&os.ModeSetuid != 0 {
			t.Errorf("su: %v, %v", info, err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(folder), ".unpack-*")); len(left) > 0 {
			t.Errorf("it left %v", left)
		}
		if _, err := UnpackImage(layout, folder); !problem.Is(err, problem.Exists) {
			t.Errorf("over one that is there: %v", err)
		}
	}
}

// TestHostileImages unpacks layers that try to get out, and blobs that are not
// what they say.
func TestHostileImages(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("safe"), 0o666); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 12) + strings.TrimPrefix(outside, "/")
	for name, entries := range map[string][]tar.Header{
		"a name upwards":                  {file("../../canary", "pwn")},
		"a name upwards inside":           {file("a/../../canary", "pwn")},
		"a link out, and through it":      {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: outside}, file("out/canary", "pwn")},
		"a link up, and through it":       {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: up}, file("out/canary", "pwn")},
		"a hard link out":                 {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: outside}, {Typeflag: tar.TypeLink, Name: "x", Linkname: "out/canary"}, file("x", "pwn")},
		"a whiteout through a link":       {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: outside}, file("out/.wh.canary", "")},
		"a whiteout of a folder by link":  {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: outside}, file("out/.wh..wh..opq", "")},
		"a whiteout of the folder itself": {file("a/.wh...", "")},
		"a folder's mode through a link":  {{Typeflag: tar.TypeSymlink, Name: "out", Linkname: outside}, {Typeflag: tar.TypeDir, Name: "out/", Mode: 0o777}, file("out/canary", "pwn")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			layoutOf(t, dir, entries)
			_, err := UnpackImage(dir, filepath.Join(t.TempDir(), "image"))
			if data, readErr := os.ReadFile(canary); readErr != nil || string(data) != "safe" {
				t.Fatalf("the canary holds %q, %v (%v)", data, readErr, err)
			}
			if name != "a folder's mode through a link" && err == nil && strings.Contains(name, "upwards") {
				t.Error("it was taken")
			}
		})
	}
	dir := t.TempDir()
	layoutOf(t, dir, []tar.Header{file("a", "b")})
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "sha256", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range blobs {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, append(bytes.Clone(data), ' '), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := UnpackImage(dir, filepath.Join(t.TempDir(), "image")); err == nil || !strings.Contains(err.Error(), "digest") {
			t.Errorf("a changed blob: %v", err)
		}
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
