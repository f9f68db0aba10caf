package contents

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"quire/internal/auth"
	"quire/internal/fault"
	"quire/internal/problem"
)

// SaveOptions says on what a save is built.
type SaveOptions struct {
	// Base is the number of the version that the caller changed. When it is not
	// the newest any more the save is refused with kind Conflict, and what was to
	// be saved is kept as a Refused version. 0 with Plain false asks that the
	// file does not exist.
	Base int64
	// Plain is for Jupyter's clients, which know no versions: the save is taken
	// whatever the newest version is, which stays among the versions.
	Plain bool
	// Client tells plain clients apart, for what each was given last. When that is
	// known and is not the newest version any more, Merge brings what the client
	// changed since into the newest: its body is kept as a Merged version and the
	// result is the newest. Where both changed the same the save is refused, as with
	// a stale Base. 0, or a nil Merge, takes the save as it is.
	Client uint64
	// Merge returns newest with what was changed from base to theirs, or, in words,
	// what both have changed.
	Merge func(base, newest, theirs []byte) (merged []byte, conflicts []string, err error)
}

// A ConflictError is a save that was refused because somebody saved before.
// Both sides are kept.
type ConflictError struct {
	Path    string
	Newest  Version // what is there now
	Refused Version // what was to be saved
	// Places are what both have changed, in words; empty when nobody looked.
	Places []string
}

// maxPlaces is how many places an error names.
const maxPlaces = 5

// Error says who was first and where both are.
func (e *ConflictError) Error() string {
	who := e.Newest.Author
	if who == "" {
		who = "somebody outside Quire"
	}
	text := "saving " + e.Path + ": " + who + " saved it before; both are kept: theirs is the newest version, yours is beside it among the versions"
	if n := len(e.Places); n > 0 {
		text += "; you both changed " + strings.Join(e.Places[:min(n, maxPlaces)], ", ")
		if n > maxPlaces {
			text += fmt.Sprintf(" and %d more", n-maxPlaces)
		}
		text += ": load the file again, and make your change there"
	}
	return text
}

// Unwrap gives the error its kind.
func (e *ConflictError) Unwrap() error { return problem.New(problem.Conflict, "the version is stale") }

// Save writes a file and, for notebooks and small files, keeps the version. It
// returns when both are on the disk. What was there before is unchanged when it
// fails.
func (v *Volume) Save(ctx context.Context, u auth.User, path string, r io.Reader, opt SaveOptions) (Version, error) {
	ctx, span := trace.SpanFromContext(ctx).TracerProvider().Tracer("quire").Start(ctx, "save")
	defer span.End()
	version, err := v.save(ctx, u, path, r, opt)
	span.SetAttributes(attribute.Int64("quire.size_bytes", version.Size), attribute.Int64("quire.version", version.Number))
	if err != nil {
		span.SetStatus(codes.Error, problem.KindOf(err).String())
	}
	return version, err
}

func (v *Volume) save(ctx context.Context, u auth.User, path string, r io.Reader, opt SaveOptions) (Version, error) {
	path, err := v.checkWrite(u, path)
	if err != nil {
		return Version{}, err
	}
	if err := v.Room(); err != nil {
		return Version{}, problem.Wrap(err, "saving %s", path)
	}
	r, large, err := v.peek(path, r)
	if err != nil {
		return Version{}, err
	}
	if large {
		return Version{}, v.saveLarge(path, r)
	}
	staged, err := v.stage(ctx, path, r)
	if err != nil {
		return Version{}, err
	}
	unlock := v.locks.lock(path)
	if fault.On(fault.CheckOutside) {
		unlock()
	} else {
		defer unlock()
	}
	head, err := v.notice(ctx, path)
	if err != nil {
		return Version{}, err
	}
	staged.Author, staged.Cause, staged.Base = u.Name, Saved, opt.Base
	if !opt.Plain && opt.Base != head.Version.Number {
		return Version{}, v.refuse(ctx, staged, head.Version)
	}
	if opt.Plain {
		staged.Base = head.Version.Number
		return v.savePlain(ctx, staged, head.Version, opt)
	}
	return v.commit(ctx, staged)
}

// peek reads the beginning of a file that is no notebook, to see whether it is
// too large for versions to be kept. The reader that it returns has all bytes.
func (v *Volume) peek(path string, r io.Reader) (io.Reader, bool, error) {
	if typeOf(path, false) == Notebook {
		return r, false, nil
	}
	begin, err := io.ReadAll(io.LimitReader(r, versioned+1))
	if err != nil {
		return nil, false, problem.Wrap(err, "saving %s", path)
	}
	return io.MultiReader(bytes.NewReader(begin), r), len(begin) > versioned, nil
}

// saveLarge replaces a large file without keeping a version.
func (v *Volume) saveLarge(path string, r io.Reader) error {
	unlock := v.locks.lock(path)
	defer unlock()
	if err := v.checkQuota(path, versioned); err != nil {
		return err
	}
	_, err := v.tree.replace(path, &limitReader{r: r, left: v.cfg.MaxFileBytes})
	if errors.Is(err, errOverLimit) {
		return v.tooLarge(path)
	}
	v.changed(path)
	return err
}

func (v *Volume) tooLarge(path string) error {
	return problem.New(problem.TooLarge, "saving %s: it is larger than %d MiB, the limit of this server", path, v.cfg.MaxFileBytes>>20)
}

// stage keeps the bytes of a save among the blobs, within the limits.
func (v *Volume) stage(ctx context.Context, path string, r io.Reader) (Version, error) {
	bounded := &limitReader{r: r, left: v.cfg.MaxFileBytes}
	hash, size, err := v.cfg.Blobs.Put(ctx, bounded)
	if errors.Is(err, errOverLimit) {
		return Version{}, v.tooLarge(path)
	}
	if err != nil {
		return Version{}, problem.Wrap(err, "saving %s", path)
	}
	return Version{Path: path, Hash: hash, Size: size, Time: v.now()}, v.checkQuota(path, size)
}

// commit makes staged the newest version and then the file. The caller holds
// the lock of its path.
func (v *Volume) commit(ctx context.Context, staged Version) (Version, error) {
	base := staged.Base
	version, err := v.cfg.Versions.AppendVersion(ctx, Append{Version: staged, Base: &base})
	if problem.Is(err, problem.Conflict) {
		head, headErr := v.cfg.Versions.Head(ctx, staged.Path)
		if headErr != nil {
			return Version{}, headErr
		}
		return Version{}, v.refuse(ctx, staged, head.Version)
	}
	if err != nil && fault.On(fault.SwallowError) {
		return staged, nil
	}
	if err != nil {
		return Version{}, problem.Wrap(err, "saving %s", staged.Path)
	}
	if fault.On(fault.DeleteBlobEarly) && staged.Base > 0 {
		if before, err := v.cfg.Versions.Version(ctx, staged.Path, staged.Base); err == nil && before.Hash != staged.Hash {
			_ = v.cfg.Blobs.Store.Delete(ctx, objectPath(before.Hash))
		}
	}
	return version, v.apply(ctx, version)
}

// apply writes a committed version to its file.
func (v *Volume) apply(ctx context.Context, version Version) error {
	body, err := v.cfg.Blobs.Open(ctx, version.Hash)
	if err != nil {
		return problem.Wrap(err, "writing %s", version.Path)
	}
	defer body.Close()
	info, err := v.tree.replace(version.Path, body)
	if err != nil {
		return err
	}
	v.changed(version.Path)
	return v.cfg.Versions.SetApplied(ctx, version.Path, version.Number, stampOf(info))
}

// refuse keeps a save that came too late and returns why it did.
func (v *Volume) refuse(ctx context.Context, staged, newest Version, places ...string) error {
	staged.Cause = Refused
	kept, err := v.cfg.Versions.AppendVersion(ctx, Append{Version: staged, Side: true})
	if err != nil {
		return problem.Wrap(err, "keeping the refused save of %s", staged.Path)
	}
	return &ConflictError{Path: staged.Path, Newest: newest, Refused: kept, Places: places}
}

// current returns what is known of the file at path, after a look at the disk.
func (v *Volume) current(ctx context.Context, path string) (Head, error) {
	unlock := v.locks.lock(path)
	defer unlock()
	return v.notice(ctx, path)
}

// notice finds out whether the file at path changed outside, and makes it a
// version when it did. The result is the newest version, with number 0 when
// there is none. The caller holds the lock of path.
func (v *Volume) notice(ctx context.Context, path string) (Head, error) {
	head, err := v.cfg.Versions.Head(ctx, path)
	if err != nil && !problem.Is(err, problem.NotFound) {
		return Head{}, problem.Wrap(err, "looking at %s", path)
	}
	if head.Version.Number > 0 && !head.Applied && !fault.On(fault.ForgetUnapplied) {
		// A save was committed and its file could not be written. What the disk
		// holds is older, and must not be taken for a change from outside.
		if head, err = v.finish(ctx, head.Version); err != nil {
			return Head{}, err
		}
	}
	info, err := v.tree.stat(path)
	if problem.Is(err, problem.NotFound) {
		return head, nil
	}
	if err != nil {
		return Head{}, err
	}
	if info.IsDir() {
		return Head{}, problem.New(problem.Invalid, "%s is a directory", path)
	}
	stamp := stampOf(info)
	if head.Version.Number > 0 && head.Stamp == stamp {
		return head, nil
	}
	if typeOf(path, false) != Notebook && info.Size() > versioned {
		return head, nil
	}
	return v.adopt(ctx, path, head)
}

// adopt makes what is on the disk the newest version, unless it is.
func (v *Volume) adopt(ctx context.Context, path string, head Head) (Head, error) {
	file, info, err := v.tree.open(path)
	if err != nil {
		return Head{}, err
	}
	defer file.Close()
	stamp := stampOf(info)
	hash, size, err := v.cfg.Blobs.Put(ctx, file)
	if err != nil {
		return Head{}, problem.Wrap(err, "keeping %s, which changed outside", path)
	}
	if head.Version.Number > 0 && hash == head.Version.Hash {
		head.Stamp, head.Applied = stamp, true
		return head, v.cfg.Versions.SetApplied(ctx, path, head.Version.Number, stamp)
	}
	base := head.Version.Number
	version, err := v.cfg.Versions.AppendVersion(ctx, Append{
		Version: Version{Path: path, Hash: hash, Size: size, Time: info.ModTime(), Cause: Outside, Base: base},
		Base:    &base, Applied: true, Stamp: stamp,
	})
	if err != nil {
		return Head{}, problem.Wrap(err, "keeping %s, which changed outside", path)
	}
	return Head{Version: version, Stamp: stamp, Applied: true}, nil
}

// recover writes the files of versions that were acknowledged and not written.
// When the disk holds something else by now than the version before, that is
// kept as a version too.
func (v *Volume) recover(ctx context.Context) error {
	versions, err := v.cfg.Versions.Unapplied(ctx)
	if fault.On(fault.ForgetUnapplied) {
		versions = nil
	}
	if err != nil {
		return problem.Wrap(err, "looking for unfinished saves")
	}
	for _, version := range versions {
		if err := v.recoverOne(ctx, version); err != nil {
			return err
		}
		v.cfg.Log.Info("finished a save that was cut off", "path", version.Path, "version", version.Number)
	}
	return nil
}

func (v *Volume) recoverOne(ctx context.Context, version Version) error {
	unlock := v.locks.lock(version.Path)
	defer unlock()
	_, err := v.finish(ctx, version)
	return err
}

// finish writes the file of a version that was committed and not written. The
// caller holds the lock of its path.
func (v *Volume) finish(ctx context.Context, version Version) (Head, error) {
	err := v.keepReplaced(ctx, version)
	if err == nil {
		err = v.apply(ctx, version)
	}
	if err != nil {
		return Head{}, problem.Wrap(err, "finishing the save of %s", version.Path)
	}
	return v.cfg.Versions.Head(ctx, version.Path)
}

// keepReplaced keeps what the disk holds in place of a version that was not
// written, when that is not the version before.
func (v *Volume) keepReplaced(ctx context.Context, version Version) error {
	found, size, err := v.hashFile(ctx, version.Path)
	if problem.Is(err, problem.NotFound) || err == nil && found == version.Hash {
		return nil
	}
	if err != nil {
		return err
	}
	before, err := v.cfg.Versions.Version(ctx, version.Path, version.Base)
	if err != nil && !problem.Is(err, problem.NotFound) {
		return err
	}
	if before.Hash == found {
		return nil
	}
	_, err = v.cfg.Versions.AppendVersion(ctx, Append{Side: true, Version: Version{
		Path: version.Path, Hash: found, Size: size, Time: v.now(), Cause: Overwritten, Base: version.Base,
	}})
	return err
}

// hashFile keeps the bytes of a file among the blobs and returns their hash.
func (v *Volume) hashFile(ctx context.Context, path string) (Hash, int64, error) {
	file, _, err := v.tree.open(path)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	return v.cfg.Blobs.Put(ctx, file)
}

var errOverLimit = errors.New("over the limit")

// limitReader fails, where io.LimitReader ends, when there is more.
type limitReader struct {
	r    io.Reader
	left int64
}

func (l *limitReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, errOverLimit
	}
	return n, err
}
