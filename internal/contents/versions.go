package contents

import (
	"context"
	"io/fs"
	"time"
)

// A Cause says how a version came to be.
type Cause string

// The causes of versions.
const (
	Saved       Cause = "saved"       // a person saved it here
	Outside     Cause = "outside"     // the file changed on the disk: git, a terminal, a kernel
	Restored    Cause = "restored"    // an older version was made the newest again
	Refused     Cause = "refused"     // a save on a stale version; kept, but never the newest
	Checkpoint  Cause = "checkpoint"  // a Jupyter client asked for one
	Dropped     Cause = "dropped"     // was a Checkpoint until a Jupyter client deleted it
	Overwritten Cause = "overwritten" // what a plain Jupyter client's save replaced unseen
	Merged      Cause = "merged"      // what a plain Jupyter client saved on a version that was not the newest: the newest has its changes
)

// Aside reports whether a version with this cause is kept beside the line of
// those that the file has been: it was never the newest.
func (c Cause) Aside() bool {
	switch c {
	case Refused, Checkpoint, Dropped, Overwritten, Merged:
		return true
	case Saved, Outside, Restored:
	}
	return false
}

// A Version is one state of a file. Versions are never changed.
type Version struct {
	Number int64     // 1 for the first of a file, then one more each
	Path   string    // where the file is now
	Hash   Hash      // of its bytes
	Size   int64     // bytes
	Author string    // a user's name, or "" for Outside
	Time   time.Time // when it was committed
	Cause  Cause
	Base   int64 // the number of the version it was made from; 0 when not known
}

// A Stamp is what the disk says of a file without reading it. When the stamp is
// the same the bytes are taken to be.
type Stamp struct {
	Size    int64
	ModTime int64 // nanoseconds since 1970
	Inode   uint64
}

// A Head is what is known of a file's newest version.
type Head struct {
	Version Version
	Stamp   Stamp
	Applied bool // the file on the disk has been replaced by this version
}

// An Append asks for one more version of the file at Path.
type Append struct {
	Version Version // Number is given by the store
	// Base, when not nil, is the number that the newest version must have; 0 asks
	// that there be none.
	Base *int64
	// Side keeps the version without making it the newest.
	Side bool
	// Applied and Stamp say that the file on the disk is this version already.
	Applied bool
	Stamp   Stamp
}

// A VersionStore keeps the records of versions; their bytes are in Blobs. It is
// safe for concurrent use. Each call is one transaction, on the disk when it
// returns. A missing file or version is an error of kind NotFound.
type VersionStore interface {
	// Head returns the newest version of the file at path.
	Head(ctx context.Context, path string) (Head, error)
	// AppendVersion adds a version. When a.Base is not the newest number it adds
	// nothing and fails with kind Conflict.
	AppendVersion(ctx context.Context, a Append) (Version, error)
	// SetApplied notes that the file at path is its version number, and its stamp.
	SetApplied(ctx context.Context, path string, number int64, stamp Stamp) error
	// Unapplied returns the newest versions whose files may not be on the disk.
	Unapplied(ctx context.Context) ([]Version, error)
	// ListVersions returns versions of the file at path below the number before
	// (0: all), newest first, at most limit.
	ListVersions(ctx context.Context, path string, before int64, limit int) ([]Version, error)
	// Version returns one version.
	Version(ctx context.Context, path string, number int64) (Version, error)
	// DropCheckpoint makes a version of the cause Checkpoint one of the cause
	// Dropped. One that is no checkpoint is an error of kind NotFound.
	DropCheckpoint(ctx context.Context, path string, number int64) error
	// MoveVersions makes the versions of the file at from, and of all files below
	// it, those of to. What was recorded at to is forgotten.
	MoveVersions(ctx context.Context, from, to string) error
	// ForgetVersions removes the records of path and of all files below it.
	ForgetVersions(ctx context.Context, path string) error
}

func stampOf(info fs.FileInfo) Stamp {
	return Stamp{Size: info.Size(), ModTime: info.ModTime().UnixNano(), Inode: inode(info)}
}
