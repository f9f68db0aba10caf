package contents

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/auth"
	"quire/internal/fault"
	"quire/internal/problem"
)

func diskPath(root, path string) string { return filepath.Join(root, filepath.FromSlash(path)) }

func parentOf(name string) string { return filepath.Dir(name) }

// Mkdir makes a directory. One that is there already is an error of kind
// Exists.
func (v *Volume) Mkdir(_ context.Context, u auth.User, path string) error {
	path, err := v.checkWrite(u, path)
	if err != nil {
		return err
	}
	defer v.changed(path)
	return v.tree.mkdir(path)
}

// MakeFolders makes a folder and those above it, below its workspace, where they
// are missing.
func (v *Volume) MakeFolders(ctx context.Context, u auth.User, folder string) error {
	names := strings.Split(folder, "/")
	first := 2 // shared/x
	if names[0] == "users" {
		first = 3 // users/ann/x
	}
	for i := first; i <= len(names); i++ {
		if err := v.Mkdir(ctx, u, strings.Join(names[:i], "/")); err != nil && !problem.Is(err, problem.Exists) {
			return err
		}
	}
	return nil
}

// Rename moves a file or directory within its workspace, and its versions with
// it. Something at the new path is an error of kind Exists.
func (v *Volume) Rename(ctx context.Context, u auth.User, from, to string) error {
	from, err := v.checkWrite(u, from)
	if err != nil {
		return err
	}
	to, err = v.checkWrite(u, to)
	if err != nil {
		return err
	}
	if from == to {
		return nil
	}
	if strings.HasPrefix(to+"/", from+"/") {
		return problem.New(problem.Invalid, "%s cannot be moved into itself", from)
	}
	// Always in the same order, so that two renames never wait for each other.
	first, second := min(from, to), max(from, to)
	unlockFirst := v.locks.lock(first)
	defer unlockFirst()
	unlockSecond := v.locks.lock(second)
	defer unlockSecond()
	return v.move(ctx, from, to)
}

// move renames on the disk and then in the records. When the second fails the
// first is undone.
func (v *Volume) move(ctx context.Context, from, to string) error {
	if err := v.tree.rename(from, to); err != nil {
		return err
	}
	if err := v.cfg.Versions.MoveVersions(ctx, from, to); err != nil {
		return errors.Join(problem.Wrap(err, "moving the versions of %s", from), v.tree.rename(to, from))
	}
	v.changed(from)
	v.changed(to)
	v.seen.move(from, to)
	v.moves.tell(from, to)
	return nil
}

// Copy copies a file to a new path, in any workspace that u may write. The copy
// starts with one version of its own.
func (v *Volume) Copy(ctx context.Context, u auth.User, from, to string) (Version, error) {
	_, r, err := v.Read(ctx, u, from)
	if err != nil {
		return Version{}, err
	}
	defer r.Close()
	return v.Save(ctx, u, to, io.Reader(r), SaveOptions{})
}

// FreeName returns a name that is free in dir, made as Jupyter makes them:
// name, then with insert and a number before the extension.
func (v *Volume) FreeName(ctx context.Context, u auth.User, dir, name, insert string) (string, error) {
	ext := path.Ext(name)
	base := strings.TrimSuffix(name, ext)
	for i := range 10_000 {
		candidate := base + ext
		if i > 0 || insert == "-Copy" {
			number := strconv.Itoa(max(i, 1))
			if insert == "-Copy" {
				number = strconv.Itoa(i + 1)
			}
			candidate = base + insert + number + ext
		}
		_, err := v.Stat(ctx, u, join(dir, candidate))
		if problem.Is(err, problem.NotFound) {
			return candidate, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", problem.New(problem.Exists, "%s has 10,000 files named like %s", orRoot(dir), name)
}

// TrashLife is how long what was deleted can be restored.
const TrashLife = 30 * 24 * time.Hour

// trashDir is the hidden directory of a workspace that holds what was deleted,
// each thing as <time>-<random>/<name> beside a file that says where it was.
const (
	trashDir   = ".trash"
	originFile = ".origin"
)

// A Deleted is a thing in the trash.
type Deleted struct {
	ID      string // names it to Restore
	Path    string // where it was
	Time    time.Time
	Expires time.Time
}

// Delete moves a file or directory, and its versions, to the trash of its
// workspace.
func (v *Volume) Delete(ctx context.Context, u auth.User, path string) error {
	path, err := v.checkWrite(u, path)
	if err != nil {
		return err
	}
	unlock := v.locks.lock(path)
	defer unlock()
	if _, err := v.tree.lstat(path); err != nil {
		return err
	}
	if fault.On(fault.NoTrash) {
		return v.tree.removeAll(path)
	}
	workspace, rest := place(path)
	id := fmt.Sprintf("%d-%s", v.now().UnixMilli(), rand.Text()[:10])
	if err := v.mkdirs(workspace, trashDir+"/"+id); err != nil {
		return err
	}
	dir := join(join(workspace, trashDir), id)
	if _, err := v.tree.replace(join(dir, originFile), strings.NewReader(rest)); err != nil {
		return err
	}
	_, name := split(path)
	return v.move(ctx, path, join(dir, name))
}

// Trash lists what was deleted in a workspace, newest first.
func (v *Volume) Trash(_ context.Context, u auth.User, workspace string) ([]Deleted, error) {
	workspace, err := v.checkWorkspace(u, workspace)
	if err != nil {
		return nil, err
	}
	return v.trash(workspace)
}

func (v *Volume) trash(workspace string) ([]Deleted, error) {
	found, _, err := v.tree.readDir(join(workspace, trashDir))
	if problem.Is(err, problem.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []Deleted
	for _, d := range found {
		millis, _, _ := strings.Cut(d.Name(), "-")
		at, err := strconv.ParseInt(millis, 10, 64)
		if err != nil {
			continue
		}
		rest, err := v.origin(join(join(workspace, trashDir), d.Name()))
		if err != nil {
			continue // cut off while it was deleted: nothing was moved yet
		}
		t := time.UnixMilli(at).UTC()
		all = append(all, Deleted{ID: d.Name(), Path: join(workspace, rest), Time: t, Expires: t.Add(TrashLife)})
	}
	slices.SortFunc(all, func(a, b Deleted) int { return cmp.Compare(b.ID, a.ID) })
	return all, nil
}

// origin returns where in its workspace a thing in the trash was.
func (v *Volume) origin(dir string) (string, error) {
	file, _, err := v.tree.open(join(dir, originFile))
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, MaxPathBytes+1))
	if err != nil {
		return "", err
	}
	rest, err := CleanPath(string(data))
	if err == nil && rest == "" {
		err = problem.New(problem.Invalid, "%s does not say where it was", dir)
	}
	return rest, err
}

// Restore brings a thing back from the trash to where it was. Something else
// there by now is an error of kind Exists.
func (v *Volume) Restore(ctx context.Context, u auth.User, workspace, id string) (string, error) {
	workspace, err := v.checkWorkspace(u, workspace)
	if err != nil {
		return "", err
	}
	all, err := v.trash(workspace)
	if err != nil {
		return "", err
	}
	for _, d := range all {
		if d.ID != id {
			continue
		}
		_, rest := place(d.Path)
		if err := v.mkdirs(workspace, dirOf(rest)); err != nil {
			return "", err
		}
		_, name := split(d.Path)
		dir := join(join(workspace, trashDir), id)
		if err := v.move(ctx, join(dir, name), d.Path); err != nil {
			return "", err
		}
		return d.Path, v.tree.removeAll(dir)
	}
	return "", problem.New(problem.NotFound, "the trash of %s has no %q", workspace, id)
}

func (v *Volume) mkdirs(workspace, below string) error {
	dir := workspace
	for name := range strings.SplitSeq(below, "/") {
		if name == "" {
			continue
		}
		dir = join(dir, name)
		if err := v.tree.mkdir(dir); err != nil && !problem.Is(err, problem.Exists) {
			return err
		}
	}
	return nil
}

// Discard removes for good what is in the trash of a workspace, with its
// versions: the thing with the given id, or everything when id is "". It returns
// how many things went. The owner of the workspace may do it, and an administrator;
// in shared, where everybody may delete, administrators only. What the workspace
// holds is counted again by the next save.
func (v *Volume) Discard(ctx context.Context, u auth.User, workspace, id string) (int, error) {
	workspace, err := v.checkWorkspace(u, workspace)
	if err != nil {
		return 0, err
	}
	if !strings.HasPrefix(workspace, "users/") {
		if err := auth.Allow(u, auth.Write, auth.Object{Kind: auth.Platform}); err != nil {
			return 0, problem.Wrap(err, "emptying the trash of %s", workspace)
		}
	}
	n, err := v.discard(ctx, workspace, func(d Deleted) bool { return id == "" || d.ID == id })
	if err == nil && n == 0 && id != "" {
		err = problem.New(problem.NotFound, "the trash of %s has no %q", workspace, id)
	}
	return n, err
}

// EmptyTrash removes for good what has been in the trash of a workspace for
// longer than TrashLife, with its versions.
func (v *Volume) EmptyTrash(ctx context.Context, workspace string) error {
	_, err := v.discard(ctx, workspace, func(d Deleted) bool { return !v.now().Before(d.Expires) })
	return err
}

// EmptyTrashes is EmptyTrash for every workspace and the shared folder. It goes
// on after an error and returns them all.
func (v *Volume) EmptyTrashes(ctx context.Context) error {
	people, err := v.entries("users")
	errs := []error{err}
	for _, e := range people {
		if e.Type == Directory && ctx.Err() == nil {
			errs = append(errs, problem.Wrap(v.EmptyTrash(ctx, e.Path), "emptying the trash of %s", e.Name))
		}
	}
	return errors.Join(append(errs, problem.Wrap(v.EmptyTrash(ctx, "shared"), "emptying the trash of the shared folder"))...)
}

func (v *Volume) discard(ctx context.Context, workspace string, chosen func(Deleted) bool) (int, error) {
	all, err := v.trash(workspace)
	if err != nil {
		return 0, err
	}
	defer v.usage.forget(workspace)
	n := 0
	for _, d := range all {
		if !chosen(d) {
			continue
		}
		dir := join(join(workspace, trashDir), d.ID)
		// The records go first: a server that ends in between finds the thing in the
		// trash again.
		err := v.cfg.Versions.ForgetVersions(ctx, dir)
		if err == nil {
			err = v.tree.removeAll(dir)
		}
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func (v *Volume) checkWorkspace(u auth.User, workspace string) (string, error) {
	workspace, err := CleanPath(workspace)
	if err != nil {
		return "", err
	}
	if top, rest := place(workspace); top == "" || rest != "" {
		return "", problem.New(problem.Invalid, "%s is no workspace", orRoot(workspace))
	}
	return workspace, auth.Allow(u, auth.Write, auth.FileAt(join(workspace, "x")))
}
