package compute

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"quire/internal/problem"
)

// Bounds of an OCI image that is unpacked. Images are somebody else's files.
const (
	maxImageBytes   = 64 << 30 // of all files of all layers together
	maxImageEntries = 2_000_000
	maxImageLayers  = 256
	maxImageJSON    = 4 << 20
	maxImageDepth   = 3 // indexes within indexes
)

// UnpackImage unpacks an image of the OCI image layout, a folder or a tar of
// one, into a folder that is not there yet, and returns the digest of its
// manifest. Every blob is checked against its digest. Nothing is written outside
// the folder, whatever the layers hold: devices are left out, a file that would
// be reached through a link that leads out is refused, and owners are not kept.
// Of an image for several machines the one for this machine is taken.
func UnpackImage(layout, folder string) (digest string, err error) {
	info, err := os.Stat(layout)
	if err != nil {
		return "", problem.WrapAs(problem.NotFound, err, "opening the image %s", layout)
	}
	if _, err := os.Lstat(folder); err == nil {
		return "", problem.New(problem.Exists, "%s is there already: an image is unpacked into a new folder", folder)
	}
	work, err := os.MkdirTemp(filepath.Dir(filepath.Clean(folder)), ".unpack-")
	if err != nil {
		return "", problem.WrapAs(problem.Unavailable, err, "making room for the image")
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if !info.IsDir() {
		spread := filepath.Join(work, "layout")
		if err := spreadLayout(layout, spread); err != nil {
			return "", err
		}
		layout = spread
	}
	blobs, err := os.OpenRoot(layout)
	if err != nil {
		return "", problem.WrapAs(problem.Unavailable, err, "opening the image %s", layout)
	}
	defer blobs.Close()
	u := &unpacker{blobs: blobs}
	digest, layers, err := u.manifest()
	if err != nil {
		return "", err
	}
	fresh := filepath.Join(work, "root")
	if err := os.Mkdir(fresh, 0o755); err != nil {
		return "", problem.WrapAs(problem.Unavailable, err, "making room for the image")
	}
	if u.root, err = os.OpenRoot(fresh); err != nil {
		return "", problem.WrapAs(problem.Unavailable, err, "making room for the image")
	}
	defer u.root.Close()
	for i, one := range layers {
		if err := u.layer(one); err != nil {
			return "", problem.Wrap(err, "layer %d of %d", i+1, len(layers))
		}
	}
	return digest, problem.WrapAs(problem.Unavailable, os.Rename(fresh, folder), "keeping the image")
}

// descriptor names a blob.
type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
	Platform  *struct {
		Architecture string `json:"architecture"`
		OS           string `json:"os"`
	} `json:"platform"`
}

type unpacker struct {
	blobs   *os.Root
	root    *os.Root
	bytes   int64
	entries int
}

// blobPath is where a blob lies; its digest is checked to be one.
func blobPath(digest string) (string, error) {
	sum, ok := strings.CutPrefix(digest, "sha256:")
	if data, err := hex.DecodeString(sum); !ok || err != nil || len(data) != sha256.Size || strings.ToLower(sum) != sum {
		return "", problem.New(problem.Invalid, "%.80q is not a digest: want sha256 and 64 hexadecimal digits", digest)
	}
	return path.Join("blobs", "sha256", sum), nil
}

// document reads a small blob and checks it.
func (u *unpacker) document(d descriptor, v any) error {
	name, err := blobPath(d.Digest)
	if err != nil {
		return err
	}
	data, err := readSmall(u.blobs, name)
	if err != nil {
		return err
	}
	if sum := sha256.Sum256(data); "sha256:"+hex.EncodeToString(sum[:]) != d.Digest {
		return problem.New(problem.Invalid, "the blob %s is not what its digest says", d.Digest)
	}
	return problem.WrapAs(problem.Invalid, json.Unmarshal(data, v), "reading the blob %s", d.Digest)
}

func readSmall(root *os.Root, name string) ([]byte, error) {
	file, err := root.Open(name)
	if err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "the image has no %s", name)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxImageJSON+1))
	if err == nil && len(data) > maxImageJSON {
		err = problem.New(problem.TooLarge, "%s of the image is larger than %d MiB", name, maxImageJSON>>20)
	}
	return data, err
}

// manifest finds the image's manifest and its layers.
func (u *unpacker) manifest() (string, []descriptor, error) {
	data, err := readSmall(u.blobs, "index.json")
	if err != nil {
		return "", nil, err
	}
	var doc struct {
		Manifests []descriptor `json:"manifests"`
		Layers    []descriptor `json:"layers"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return "", nil, problem.WrapAs(problem.Invalid, err, "reading index.json of the image")
	}
	for range maxImageDepth {
		one, err := choose(doc.Manifests)
		if err != nil {
			return "", nil, err
		}
		doc.Manifests, doc.Layers = nil, nil
		if err := u.document(one, &doc); err != nil {
			return "", nil, err
		}
		switch {
		case len(doc.Layers) > maxImageLayers:
			return "", nil, problem.New(problem.TooLarge, "the image has %d layers, above the maximum of %d", len(doc.Layers), maxImageLayers)
		case len(doc.Layers) > 0:
			return one.Digest, doc.Layers, nil
		}
	}
	return "", nil, problem.New(problem.Invalid, "the image has no layers")
}

// choose takes the only manifest, or the one for this machine.
func choose(all []descriptor) (descriptor, error) {
	if len(all) == 1 {
		return all[0], nil
	}
	for _, one := range all {
		if p := one.Platform; p != nil && p.OS == "linux" && p.Architecture == runtime.GOARCH {
			return one, nil
		}
	}
	return descriptor{}, problem.New(problem.Invalid, "the image has %d manifests, and none is for linux/%s", len(all), runtime.GOARCH)
}

// layer unpacks one layer over those before it.
func (u *unpacker) layer(d descriptor) error {
	name, err := blobPath(d.Digest)
	if err != nil {
		return err
	}
	blob, err := u.blobs.Open(name)
	if err != nil {
		return problem.WrapAs(problem.Invalid, err, "the image has no blob %s", d.Digest)
	}
	defer blob.Close()
	// It is checked first: what is not what it says is not unpacked.
	sum := sha256.New()
	if _, err := io.Copy(sum, io.LimitReader(blob, maxImageBytes)); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "reading the blob %s", d.Digest)
	}
	if "sha256:"+hex.EncodeToString(sum.Sum(nil)) != d.Digest {
		return problem.New(problem.Invalid, "the blob %s is not what its digest says", d.Digest)
	}
	if _, err := blob.Seek(0, io.SeekStart); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "reading the blob %s", d.Digest)
	}
	var in io.Reader = blob
	switch {
	case strings.HasSuffix(d.MediaType, "gzip"):
		unzipped, err := gzip.NewReader(blob)
		if err != nil {
			return problem.WrapAs(problem.Invalid, err, "reading the blob %s", d.Digest)
		}
		in = unzipped
	case !strings.HasSuffix(d.MediaType, "tar"):
		return problem.New(problem.Invalid, "a layer is of type %.80q: want a tar, plain or with gzip", d.MediaType)
	}
	files := tar.NewReader(in)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return problem.WrapAs(problem.Invalid, err, "reading the blob %s", d.Digest)
		}
		if err := u.entry(h, files); err != nil {
			return problem.Wrap(err, "%.200q", h.Name)
		}
	}
}

// entry unpacks one entry of a layer.
func (u *unpacker) entry(h *tar.Header, data io.Reader) error {
	if u.entries++; u.entries > maxImageEntries {
		return problem.New(problem.TooLarge, "the image has over %d files", maxImageEntries)
	}
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if name == "" {
		return nil
	}
	if strings.Contains("/"+h.Name+"/", "/../") {
		return problem.New(problem.Invalid, "a name leads upwards")
	}
	folder, base := path.Dir(name), path.Base(name)
	if gone, ok := strings.CutPrefix(base, ".wh."); ok {
		return u.whiteout(folder, gone)
	}
	if err := u.root.MkdirAll(folder, 0o755); err != nil {
		return refused(err)
	}
	mode := fs.FileMode(h.Mode).Perm()
	if h.Typeflag == tar.TypeDir {
		if info, err := u.root.Lstat(name); err == nil && info.IsDir() {
			return refused(u.root.Chmod(name, mode|0o700))
		}
	}
	if err := u.root.RemoveAll(name); err != nil { // it takes the place of what a layer before had
		return refused(err)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return refused(u.root.Mkdir(name, mode|0o700))
	case tar.TypeReg:
		return u.file(name, mode, data)
	case tar.TypeSymlink:
		return refused(u.root.Symlink(h.Linkname, name))
	case tar.TypeLink:
		return refused(u.root.Link(strings.TrimPrefix(path.Clean("/"+h.Linkname), "/"), name))
	}
	return nil // devices and pipes: the driver makes its own
}

func (u *unpacker) file(name string, mode fs.FileMode, data io.Reader) error {
	file, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return refused(err)
	}
	n, err := io.Copy(file, io.LimitReader(data, maxImageBytes-u.bytes+1))
	u.bytes += n
	if err == nil && u.bytes > maxImageBytes {
		err = problem.New(problem.TooLarge, "the image holds over %s", FormatBytes(maxImageBytes))
	}
	if err == nil {
		err = file.Chmod(mode)
	}
	return errors.Join(err, file.Close())
}

// whiteout takes away what a layer before had: one thing, or all of a folder.
func (u *unpacker) whiteout(folder, gone string) error {
	if gone != ".wh..opq" {
		if gone == "" || gone == "." || gone == ".." {
			return problem.New(problem.Invalid, "it takes away nothing")
		}
		return refused(u.root.RemoveAll(path.Join(folder, gone)))
	}
	dir, err := u.root.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return refused(err)
	}
	names, err := dir.Readdirnames(-1)
	err = errors.Join(err, dir.Close())
	for _, name := range names {
		err = errors.Join(err, u.root.RemoveAll(path.Join(folder, name)))
	}
	return refused(err)
}

func refused(err error) error {
	return problem.WrapAs(problem.Invalid, err, "unpacking it")
}

// spreadLayout unpacks a tar of a layout: its index and its blobs only.
func spreadLayout(file, folder string) error {
	in, err := os.Open(file)
	if err != nil {
		return problem.WrapAs(problem.NotFound, err, "opening the image %s", file)
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Join(folder, "blobs", "sha256"), 0o700); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "making room for the image")
	}
	files, left := tar.NewReader(in), int64(maxImageBytes)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return problem.WrapAs(problem.Invalid, err, "reading the image %s", file)
		}
		name := path.Clean(h.Name)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if name != "index.json" {
			if want, err := blobPath("sha256:" + path.Base(name)); err != nil || want != name {
				continue
			}
		}
		out, err := os.OpenFile(filepath.Join(folder, filepath.FromSlash(name)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return problem.WrapAs(problem.Invalid, err, "reading the image %s", file)
		}
		n, err := io.Copy(out, io.LimitReader(files, left+1))
		if left -= n; left < 0 {
			err = fmt.Errorf("it is larger than %s", FormatBytes(maxImageBytes))
		}
		if err = errors.Join(err, out.Close()); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "reading the image %s", file)
		}
	}
}
