package contents

import (
	"context"
	"crypto/rand"
	"io"
	"sync"
	"time"

	"quire/internal/auth"
	"quire/internal/problem"
)

// uploadDir holds what has come of files that come in parts. It is hidden, and
// empty when the volume is opened: an upload does not outlive the server.
const uploadDir = ".uploads"

// Limits of uploads that are not finished.
const (
	maxUploads = 100       // of all users together
	uploadLife = time.Hour // since the last part
)

// uploads are the files that are coming, by who sends them and where to.
type uploads struct {
	mu   sync.Mutex
	open map[uploadKey]*upload
}

type uploadKey struct{ user, path string }

type upload struct {
	file string // on the volume
	next int    // number of the part that is awaited
	size int64  // bytes so far
	at   time.Time
}

// LastPart is the number of the part that ends an upload.
const LastPart = -1

// UploadPart takes one part of a file that comes in several, as Jupyter's
// clients send large ones: number 1 first, then 2, 3 and so on, the last one as
// LastPart. What was at path stays until the last part has come; then the whole
// is saved as Save does, and saved is true. A part out of turn is an error of
// kind Conflict: the client begins again. Unfinished uploads are dropped after
// an hour, and when the server stops.
func (v *Volume) UploadPart(ctx context.Context, u auth.User, path string, number int, r io.Reader, opt SaveOptions) (version Version, saved bool, err error) {
	path, err = v.checkWrite(u, path)
	if err != nil {
		return Version{}, false, err
	}
	key := uploadKey{u.Name, path}
	unlock := v.locks.lock(uploadDir + "/" + u.Name + "/" + path)
	defer unlock()
	up, err := v.uploadFor(key, number)
	if err != nil {
		return Version{}, false, err
	}
	if err := v.takePart(path, up, r, number == 1); err != nil {
		v.endUpload(key, up)
		return Version{}, false, err
	}
	if number != LastPart {
		return Version{}, false, nil
	}
	defer v.endUpload(key, up)
	file, _, err := v.tree.open(up.file)
	if err != nil {
		return Version{}, false, err
	}
	defer file.Close()
	version, err = v.Save(ctx, u, path, file, opt)
	return version, err == nil, err
}

// uploadFor returns the upload that a part belongs to.
func (v *Volume) uploadFor(key uploadKey, number int) (*upload, error) {
	v.uploads.mu.Lock()
	defer v.uploads.mu.Unlock()
	up := v.uploads.open[key]
	switch {
	case number == 1:
		return v.beginUpload(key, up)
	case up == nil:
		return nil, problem.New(problem.Conflict, "saving %s: its first part is not here, or is over an hour old: send it from the beginning", key.path)
	case number != LastPart && number != up.next:
		return nil, problem.New(problem.Conflict, "saving %s: part %d came, part %d is the next: send it from the beginning", key.path, number, up.next)
	}
	up.next++
	up.at = v.now()
	return up, nil
}

// beginUpload makes room for one more upload; the caller holds the lock.
func (v *Volume) beginUpload(key uploadKey, before *upload) (*upload, error) {
	now := v.now()
	for k, up := range v.uploads.open {
		if now.Sub(up.at) > uploadLife {
			delete(v.uploads.open, k)
			_ = v.tree.removeAll(up.file)
		}
	}
	if before == nil && len(v.uploads.open) >= maxUploads {
		return nil, problem.New(problem.Unavailable, "saving %s: %d files are being sent already: try again when some have come", key.path, maxUploads)
	}
	up := &upload{file: uploadDir + "/" + rand.Text(), next: 2, at: now}
	if before != nil {
		up.file = before.file
	}
	if v.uploads.open == nil {
		v.uploads.open = map[uploadKey]*upload{}
	}
	v.uploads.open[key] = up
	return up, nil
}

// takePart writes a part behind those before it, within the limits of a save.
func (v *Volume) takePart(path string, up *upload, r io.Reader, first bool) error {
	if err := v.hasRoom(path, up.size); err != nil {
		return err
	}
	bounded := &limitReader{r: r, left: v.cfg.MaxFileBytes - up.size}
	n, err := v.tree.extend(up.file, bounded, first)
	up.size += n
	if bounded.left < 0 {
		return v.tooLarge(path)
	}
	return err
}

// endUpload forgets an upload, finished or not.
func (v *Volume) endUpload(key uploadKey, up *upload) {
	v.uploads.mu.Lock()
	defer v.uploads.mu.Unlock()
	if v.uploads.open[key] == up {
		delete(v.uploads.open, key)
	}
	_ = v.tree.removeAll(up.file)
}
