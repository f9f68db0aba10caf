// Package fault holds the faults that can be planted into Quire, to show that
// its reliability harness sees them: a harness that no fault turns red proves
// nothing. They exist only in a binary built with the tag "torture"; in every
// other one On is a constant false, and what it guards is not compiled in.
//
// A planted binary reads the one fault to have from QUIRE_FAULT; without it, it
// is a healthy one.
package fault

// A Name names a fault.
type Name string

// The faults. Each is a mistake that somebody could make.
const (
	SkipFileSync    Name = "skip-file-sync"      // new files are renamed without being synced
	SkipDirSync     Name = "skip-dir-sync"       // renames are not made durable
	RenameFirst     Name = "rename-before-write" // the name is taken before the bytes are there
	BelieveAnyFence Name = "fence-ignored"       // a result is believed, whoever wrote it
	CheckOutside    Name = "check-outside"       // a save looks at the newest version before its transaction
	AckSaveEarly    Name = "ack-save-early"      // a save is answered before its commit
	AckRunEarly     Name = "ack-run-early"       // a run is answered before its commit
	SwallowError    Name = "error-swallowed"     // a save that failed is answered with success
	SyncOff         Name = "synchronous-off"     // the database syncs nothing
	SyncNormal      Name = "synchronous-normal"  // the database syncs at checkpoints only
	JournalHeldBack Name = "journal-held-back"   // finished cells stay in memory
	PublishEarly    Name = "published-twice"     // each attempt's output replaces the one before
	LoseCancel      Name = "cancel-lost"         // a cancelling is answered and forgotten
	IgnoreKey       Name = "key-ignored"         // idempotency keys do nothing
	NoTrash         Name = "trash-at-once"       // what is deleted is gone
	NeverLost       Name = "lease-for-ever"      // an attempt without a process is waited for
	DeleteBlobEarly Name = "blob-deleted-early"  // a version's bytes go when the next one comes
	LaunchTwice     Name = "launched-twice"      // two processes take one attempt
	ForgetUnapplied Name = "unapplied-forgotten" // a save that was cut off is not finished
	FreeUnasked     Name = "freed-unasked"       // what was doomed goes, whether or not it was saved again since
)

// All returns every fault, in the order in which they are reported.
func All() []Name {
	return []Name{
		SkipFileSync, SkipDirSync, RenameFirst, BelieveAnyFence, CheckOutside, AckSaveEarly, AckRunEarly,
		SwallowError, SyncOff, SyncNormal, JournalHeldBack, PublishEarly, LoseCancel, IgnoreKey, NoTrash,
		NeverLost, DeleteBlobEarly, LaunchTwice, ForgetUnapplied, FreeUnasked,
	}
}
