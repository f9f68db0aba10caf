package contents

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"quire/internal/fault"
	"quire/internal/problem"
	"quire/internal/storage"
)

// DefaultFreeAfter is how long bytes that no version names are kept.
const DefaultFreeAfter = 24 * time.Hour

// freeLease is how long a server that said it would free an object may still do
// it. After it, another may take the object back or free it.
const freeLease = 10 * time.Minute

// A DoomStore keeps which objects of Blobs are to be freed. An object that no
// version names is doomed first; when it has been for long enough a server
// claims it, looks once more whether a version names it, and frees it. A save
// that needs a doomed object spares it. So nothing is freed that a save counts
// on, whichever servers do either, and wherever they are killed.
//
// It is safe for concurrent use. Each call is one transaction.
type DoomStore interface {
	// Doom notes that nothing names the objects at this time. What is doomed
	// already keeps its time.
	Doom(ctx context.Context, objects []string, at time.Time) error
	// Spare takes an object back. It is not done, and busy is true, when the
	// object was claimed after stale: it may be freed at any moment.
	Spare(ctx context.Context, object string, stale time.Time) (busy bool, err error)
	// ClaimDoomed returns at most limit objects that were doomed before doomed and not
	// claimed after stale, and notes that they are claimed now.
	ClaimDoomed(ctx context.Context, doomed, stale, now time.Time, limit int) ([]string, error)
	// ForgetDoomed removes objects that were freed, or are named again.
	ForgetDoomed(ctx context.Context, objects []string) error
	// EachHash calls f with the hash of each version that there is.
	EachHash(ctx context.Context, f func(Hash) error) error
}

// FreeOptions say what Free does. The zero value is right.
type FreeOptions struct {
	// After is how long an object that nothing names is kept, first since it was
	// written and then since it was seen that nothing names it. It must be longer
	// than any save takes. 0 is DefaultFreeAfter.
	After time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
}

// Freed is what Free did.
type Freed struct {
	Objects int // how many were removed
	Doomed  int // how many will be, when nothing names them until then
}

// Free removes the objects that no version names and dooms those that none
// names any more. It frees nothing when it cannot read a part of what is named.
func (b *Blobs) Free(ctx context.Context, opt FreeOptions) (Freed, error) {
	if b.Doomed == nil {
		return Freed{}, nil
	}
	if opt.After <= 0 {
		opt.After = DefaultFreeAfter
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	s := freeing{blobs: b, opt: opt}
	freed, err := s.run(ctx)
	return freed, problem.Wrap(err, "freeing what no version names")
}

// freeing is one call of Free.
type freeing struct {
	blobs *Blobs
	opt   FreeOptions
	named map[[32]byte]struct{} // versions, and the chunks of those that were cut
}

const freeBatch = 500

func (s *freeing) run(ctx context.Context) (Freed, error) {
	// The claims come first: what a version names that was committed until then
	// is seen below, and a save that comes later finds the claim.
	claimed, at, err := s.claim(ctx)
	if err != nil {
		return Freed{}, err
	}
	if err := s.mark(ctx); err != nil {
		return Freed{}, err
	}
	var freed Freed
	if freed.Objects, err = s.remove(ctx, claimed, at); err != nil {
		return freed, err
	}
	freed.Doomed, err = s.doom(ctx)
	return freed, err
}

func (s *freeing) claim(ctx context.Context) ([]string, time.Time, error) {
	now := s.opt.Now()
	claimed, err := s.blobs.Doomed.ClaimDoomed(ctx, now.Add(-s.opt.After), now.Add(-freeLease), now, 100*freeBatch)
	return claimed, now, err
}

// mark finds all that versions name.
func (s *freeing) mark(ctx context.Context) error {
	s.named = map[[32]byte]struct{}{}
	err := s.blobs.Doomed.EachHash(ctx, func(hash Hash) error {
		key, ok := keyOf(string(hash))
		if !ok {
			return problem.New(problem.Internal, "%q is no hash of a version", hash)
		}
		s.named[key] = struct{}{}
		return nil
	})
	if err != nil {
		return err
	}
	var chunks []Hash
	err = s.each(ctx, func(e storage.Entry, name string) error {
		whole, list := strings.CutSuffix(name, ".m")
		if !list || !s.names(whole) {
			return nil
		}
		m, err := s.blobs.manifest(ctx, Hash(whole))
		chunks = append(chunks, m.Chunks...)
		return err
	})
	for _, chunk := range chunks {
		key, ok := keyOf(string(chunk))
		if !ok {
			return problem.New(problem.Internal, "%q is no hash of a chunk", chunk)
		}
		s.named[key] = struct{}{}
	}
	return err
}

// names reports whether a version names the object.
func (s *freeing) names(hash string) bool {
	key, ok := keyOf(hash)
	_, named := s.named[key]
	return !ok || named // what is not ours is not to be freed
}

// remove frees what was claimed at the given time, unless it is named.
func (s *freeing) remove(ctx context.Context, claimed []string, at time.Time) (int, error) {
	done, freed := make([]string, 0, freeBatch), 0
	settle := func() error {
		err := s.blobs.Doomed.ForgetDoomed(ctx, done)
		done = done[:0]
		return err
	}
	for _, object := range claimed {
		if fault.On(fault.FreeUnasked) || !s.names(strings.TrimSuffix(nameOf(object), ".m")) {
			if s.opt.Now().Sub(at) > freeLease/2 {
				return freed, settle() // the rest is for the next time: others may have taken it back
			}
			err := s.removeOne(ctx, object)
			if err != nil {
				return freed, errors.Join(err, settle())
			}
			freed++
		}
		if done = append(done, object); len(done) == freeBatch {
			if err := settle(); err != nil {
				return freed, err
			}
		}
	}
	return freed, settle()
}

func (s *freeing) removeOne(ctx context.Context, object string) error {
	ctx, cancel := context.WithTimeout(ctx, freeLease/4)
	defer cancel()
	return s.blobs.Store.Delete(ctx, object)
}

// doom notes the objects that nothing names and that are not new: a save puts
// its bytes down before it says so.
func (s *freeing) doom(ctx context.Context) (int, error) {
	now, total := s.opt.Now(), 0
	var found []string
	settle := func() error {
		err := s.blobs.Doomed.Doom(ctx, found, now)
		found, total = found[:0], total+len(found)
		return err
	}
	err := s.each(ctx, func(e storage.Entry, name string) error {
		if s.names(strings.TrimSuffix(name, ".m")) || e.ModTime.IsZero() || now.Sub(e.ModTime) < s.opt.After {
			return nil
		}
		if found = append(found, e.Path); len(found) == freeBatch {
			return settle()
		}
		return nil
	})
	if err != nil {
		return total, err
	}
	return total, settle()
}

// each calls f with every object and the last part of its path.
func (s *freeing) each(ctx context.Context, f func(e storage.Entry, name string) error) error {
	opt := storage.ListOptions{Recursive: true}
	for {
		page, err := s.blobs.Store.List(ctx, opt)
		if err != nil {
			return err
		}
		for _, e := range page.Entries {
			if err := f(e, nameOf(e.Path)); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		opt.Token = page.Next
	}
}

func nameOf(object string) string { return object[strings.LastIndexByte(object, '/')+1:] }

func keyOf(hash string) (key [32]byte, ok bool) {
	if len(hash) != 64 {
		return key, false
	}
	_, err := hex.Decode(key[:], []byte(hash))
	return key, err == nil
}

// manifest reads the list of chunks of a body that was cut.
func (b *Blobs) manifest(ctx context.Context, hash Hash) (manifest, error) {
	var m manifest
	data, err := b.readObject(ctx, objectPath(hash)+".m")
	if err != nil {
		return m, problem.Wrap(err, "opening version %.12s", hash)
	}
	err = json.Unmarshal(data, &m)
	return m, problem.WrapAs(problem.Internal, err, "reading the list of chunks of version %.12s", hash)
}

// spare takes an object that is about to be written off the list of those to be
// freed. One that is being freed right now is waited for, but not for long.
func (b *Blobs) spare(ctx context.Context, object string) error {
	if b.Doomed == nil || fault.On(fault.FreeUnasked) {
		return nil
	}
	wait := time.NewTicker(50 * time.Millisecond)
	defer wait.Stop()
	for range 200 {
		busy, err := b.Doomed.Spare(ctx, object, time.Now().Add(-freeLease))
		if err != nil || !busy {
			return err
		}
		select {
		case <-ctx.Done():
			return problem.Wrap(ctx.Err(), "waiting for a version's bytes to be freed")
		case <-wait.C:
		}
	}
	return problem.New(problem.Unavailable, "the same bytes are being freed: try again in a few minutes")
}
