package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"

	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/storage"
)

// maxRecovered bounds a notebook that is read from a store, in bytes.
const maxRecovered = 1 << 30

// storeJournalDir returns the folder of the journal of the output at location.
func storeJournalDir(journals, location string) string {
	sum := sha256.Sum256([]byte(location))
	return filepath.Join(journals, hex.EncodeToString(sum[:16]))
}

// leftBehind refuses an output that is to be written once, that is there, and
// whose run was killed: it says how what has run is brought into it.
func (f *File) leftBehind(ctx context.Context) error {
	t, ok := f.target.(*storeTarget)
	if !ok || !t.writeOnce || f.journals == "" {
		return nil
	}
	if _, err := os.Stat(f.journal); err != nil {
		return nil //nolint:nilerr // there is no run to go on with
	}
	if _, err := t.store.Stat(ctx, t.path); problem.Is(err, problem.NotFound) {
		return nil
	}
	return problem.New(problem.Exists, "output %s exists already, and the run that wrote it goes on or was killed: quire recover %s completes it",
		t.location(), t.location())
}

// RecoverStore is Recover for an output in a store; journals is
// FileOptions.Journals of the run that was killed, on the same machine.
func RecoverStore(ctx context.Context, store storage.Store, path, journals string) (*Recovery, error) {
	dir := storeJournalDir(journals, store.Location(path))
	name := filepath.Join(dir, "journal")
	f, live, err := openJournal(name, lockSoon)
	if err != nil {
		return nil, problem.WrapAs(fileKind(err), err, "reading the journal of %s", store.Location(path))
	}
	if f == nil {
		return nil, nil
	}
	defer func() { _ = f.Close() }()
	rec := &Recovery{Journal: name, Running: -1, Live: live}
	if live {
		return rec, problem.New(problem.Conflict, "%s is being written by a run now", store.Location(path))
	}
	data, info, err := storage.ReadAll(ctx, store, path, maxRecovered)
	if err != nil {
		return nil, problem.Wrap(err, "reading notebook %s", store.Location(path))
	}
	nb, err := notebook.Read(bytes.NewReader(data))
	if err != nil {
		return nil, problem.Wrap(err, "reading notebook %s", store.Location(path))
	}
	content, err := readJournal(f)
	if err != nil {
		return nil, problem.Wrap(err, "journal %s", name)
	}
	if content.run == "" || content.run != runID(nb) || len(nb.Cells) != content.cells ||
		lookup(nb.Metadata, "quire")["status"] != cellRunning {
		return nil, os.RemoveAll(dir) // of a run that had stored its notebook
	}
	merge(nb, content, rec)
	markKilled(nb, content, rec)
	if data, err = nb.Bytes(); err != nil {
		return rec, problem.Wrap(err, "encoding notebook %s", store.Location(path))
	}
	out := NewStoreFile(store, path, FileOptions{})
	out.tmp = dir
	if err := out.putSpills(ctx); err != nil {
		return rec, err
	}
	opt := storage.PutOptions{ContentType: "application/x-ipynb+json", IfMatch: info.ETag}
	if _, err := store.Put(ctx, path, bytes.NewReader(data), opt); err != nil {
		return rec, problem.Wrap(err, "writing %s", store.Location(path))
	}
	return rec, os.RemoveAll(dir)
}
