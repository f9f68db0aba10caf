// Package gitrepo reads files of local git repositories at a branch, a tag or a
// commit.
//
// A repository lies where people write, so it is hostile: its configuration, its
// hooks and its work tree are never looked at. References are read here, as files
// below one folder without following a link out of it; objects are read by git in
// an empty repository of our own that borrows the other's objects, without a
// network, a terminal or anybody's settings, and for a bounded time.
package gitrepo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
)

// Bounds of what is read.
const (
	maxRefFile    = 4 << 10
	maxPackedRefs = 16 << 20
	maxSymbolic   = 5
	maxObjects    = 50_000 // files of objects that are looked at
	timeLimit     = 20 * time.Second
)

// A Repository is one that lies in a folder of the files.
type Repository struct {
	Path string // of its folder, from the root of the files
	root string // the files, without links
	git  string // of what is in .git, from root
}

// Find finds the repository that a file lies in: the nearest folder above it that
// is one. name is the file's path from root, with slashes; within is the topmost
// folder that is looked at. rest is the file's path in the repository.
func Find(root, within, name string) (repo Repository, rest string, err error) {
	files, err := os.OpenRoot(root)
	if err != nil {
		return repo, "", problem.WrapAs(problem.Unavailable, err, "opening the files")
	}
	defer files.Close()
	real, err := filepath.EvalSymlinks(root)
	if err != nil {
		return repo, "", problem.WrapAs(problem.Unavailable, err, "opening the files")
	}
	for dir := path.Dir(name); dir != "." && (dir == within || strings.HasPrefix(dir, within+"/")); dir = path.Dir(dir) {
		for _, git := range []string{dir + "/.git", dir} {
			if _, err := files.Lstat(git + "/HEAD"); err != nil {
				continue
			}
			if info, err := files.Lstat(git + "/objects"); err != nil || !info.IsDir() {
				continue
			}
			return Repository{Path: dir, root: real, git: git}, strings.TrimPrefix(name, dir+"/"), nil
		}
		if info, err := files.Lstat(dir + "/.git"); err == nil && info.Mode().IsRegular() {
			return repo, "", problem.New(problem.Invalid, "%s is a worktree or a submodule, whose objects lie elsewhere: name the notebook in the repository that it belongs to", dir)
		}
	}
	return repo, "", problem.New(problem.Invalid, "%s lies in no git repository: clone one to a folder above it", name)
}

var (
	refPattern  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/+@-]{0,199}$`)
	hashPattern = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)
)

// ValidRef reports whether ref may name a branch, a tag or a commit.
func ValidRef(ref string) bool {
	return refPattern.MatchString(ref) && !strings.Contains(ref, "..") && !strings.Contains(ref, "//") && !strings.Contains(ref, "@{") &&
		!strings.HasSuffix(ref, "/") && !strings.HasSuffix(ref, ".lock") && path.Clean(ref) == ref
}

// Resolve returns the commit that a ref names now: a whole hash, else a tag, else
// a branch, else a branch of a remote as it was last fetched.
func (r Repository) Resolve(ctx context.Context, ref string) (commit string, err error) {
	if !ValidRef(ref) {
		return "", problem.New(problem.Invalid, "%q is no ref: want a branch, a tag or a whole commit", ref)
	}
	hash := ref
	if !hashPattern.MatchString(ref) {
		if hash, err = r.lookUp(ref); err != nil {
			return "", err
		}
	}
	out, err := r.run(ctx, hash, 256, "", "rev-parse", "--verify", "--quiet", "--end-of-options", hash+"^{commit}")
	commit = strings.TrimSpace(string(out))
	if err == nil && !hashPattern.MatchString(commit) {
		err = problem.New(problem.NotFound, "it answered %.80q", commit)
	}
	if err != nil {
		return "", problem.Wrap(err, "resolving %s in %s: it is no commit that is there", ref, r.Path)
	}
	return commit, nil
}

// lookUp reads what a name stands for from the files of the repository.
func (r Repository) lookUp(ref string) (hash string, err error) {
	files, err := os.OpenRoot(r.root)
	if err != nil {
		return "", problem.WrapAs(problem.Unavailable, err, "opening the files")
	}
	defer files.Close()
	names := []string{"refs/tags/" + ref, "refs/heads/" + ref, "refs/remotes/" + ref}
	switch {
	case ref == "HEAD":
		names = []string{ref}
	case strings.HasPrefix(ref, "refs/"):
		names = append([]string{ref}, names...)
	}
	for _, name := range names {
		for range maxSymbolic {
			if hash, err = r.ref(files, name); err != nil {
				return "", err
			}
			next, symbolic := strings.CutPrefix(hash, "ref: ")
			if !symbolic {
				break
			}
			if !strings.HasPrefix(next, "refs/") || !ValidRef(next) {
				return "", problem.New(problem.Invalid, "the ref %s of %s leads to %.80q", name, r.Path, next)
			}
			name = next
		}
		if hashPattern.MatchString(hash) {
			return hash, nil
		}
	}
	return "", problem.New(problem.NotFound, "%s has no branch, tag or commit %s", r.Path, ref)
}

// ref reads one ref, "" when there is none. git may be packing it: then it is in the
// packed ones before its own file goes, so these are read after that.
func (r Repository) ref(files *os.Root, name string) (string, error) {
	text, err := readAtMost(files, r.git+"/"+name, maxRefFile)
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) && !isFolder(files, r.git+"/"+name) {
		return "", problem.WrapAs(problem.Invalid, err, "reading the ref %s of %s", name, r.Path)
	}
	packed, err := r.packed(files)
	return packed[name], err
}

func isFolder(files *os.Root, name string) bool {
	info, err := files.Stat(name)
	return err == nil && info.IsDir()
}

// packed reads the refs that have no files of their own.
func (r Repository) packed(files *os.Root) (map[string]string, error) {
	text, err := readAtMost(files, r.git+"/packed-refs", maxPackedRefs)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, problem.WrapAs(problem.Invalid, err, "reading the refs of %s", r.Path)
	}
	all := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if hash, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && hashPattern.MatchString(hash) {
			all[name] = hash
		}
	}
	return all, nil
}

// readAtMost reads a regular file that is no longer than it may be.
func readAtMost(files *os.Root, name string, most int64) ([]byte, error) {
	info, err := files.Lstat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	file, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("it is longer than %d bytes", most)
	}
	return text, err
}

// Read returns a file of a commit. name is its path in the repository.
func (r Repository) Read(ctx context.Context, commit, name string, most int64) ([]byte, error) {
	if !hashPattern.MatchString(commit) || name == "" || strings.ContainsAny(name, "\n\x00") || path.Clean("/"+name) != "/"+name {
		return nil, problem.New(problem.Invalid, "%.200q at %.80q is no file of a commit", name, commit)
	}
	out, err := r.run(ctx, commit, most+256, commit+":"+name+"\n", "cat-file", "--batch", "--buffer")
	if err != nil {
		return nil, problem.Wrap(err, "reading %s at %s of %s", name, commit[:12], r.Path)
	}
	head, body, _ := bytes.Cut(out, []byte("\n"))
	words := strings.Fields(string(head))
	if len(words) != 3 || words[1] != "blob" {
		return nil, problem.New(problem.NotFound, "there is no file %s at %s of %s", name, commit[:12], r.Path)
	}
	size, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil || size > most || int64(len(body)) < size {
		return nil, problem.New(problem.TooLarge, "%s at %s of %s is larger than %d MiB", name, commit[:12], r.Path, most>>20)
	}
	return body[:size], nil
}

// checkObjects refuses objects that are not all in the repository's own folder:
// git would follow a link or a borrowed place to others.
func (r Repository) checkObjects() error {
	files, err := os.OpenRoot(r.root)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "opening the files")
	}
	defer files.Close()
	for _, dir := range []string{r.git, r.git + "/objects"} {
		if info, err := files.Lstat(dir); err != nil || !info.IsDir() {
			return problem.New(problem.Invalid, "%s is no folder of its own: this repository is not read", dir)
		}
	}
	for _, name := range []string{"alternates", "http-alternates"} {
		if _, err := files.Lstat(r.git + "/objects/info/" + name); err == nil {
			return problem.New(problem.Invalid, "%s borrows objects from another repository (objects/info/%s): run git repack -ad in it, and remove that file", r.Path, name)
		}
	}
	seen := 0
	look := func(dir string) (folders []string, err error) {
		folder, err := files.Open(dir)
		if err != nil {
			return nil, problem.WrapAs(problem.Invalid, err, "looking at the objects of %s", r.Path)
		}
		defer folder.Close()
		entries, err := folder.ReadDir(maxObjects + 1)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, problem.WrapAs(problem.Invalid, err, "looking at the objects of %s", r.Path)
		}
		if seen += len(entries); seen > maxObjects {
			return nil, problem.New(problem.TooLarge, "%s has more than %d files of objects: run git gc in it", r.Path, maxObjects)
		}
		for _, e := range entries {
			switch {
			case e.IsDir():
				folders = append(folders, dir+"/"+e.Name())
			case !e.Type().IsRegular():
				return nil, problem.New(problem.Invalid, "%s/%s is a link or no file: this repository is not read", dir, e.Name())
			}
		}
		return folders, nil
	}
	folders, err := look(r.git + "/objects")
	for i := 0; i < len(folders) && err == nil; i++ {
		if _, err = look(folders[i]); errors.Is(err, fs.ErrNotExist) {
			err = nil // git has just packed what was in it
		}
	}
	return err
}

// run runs git over the objects of the repository, and returns the first most
// bytes of what it prints.
func (r Repository) run(ctx context.Context, hash string, most int64, input string, args ...string) ([]byte, error) {
	program, err := exec.LookPath("git")
	if err != nil {
		return nil, problem.New(problem.Unavailable, "git is not installed on the server: an administrator can install it (apt-get install -y git)")
	}
	if err := r.checkObjects(); err != nil {
		return nil, err
	}
	ours, err := os.MkdirTemp("", "quire-git-")
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making a folder for git")
	}
	defer os.RemoveAll(ours)
	if err := emptyRepository(ours, len(hash) == 64); err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "making a folder for git")
	}
	ctx, cancel := context.WithTimeout(ctx, timeLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = ours
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + ours, "LC_ALL=C", "GIT_DIR=" + ours,
		"GIT_OBJECT_DIRECTORY=" + filepath.Join(r.root, filepath.FromSlash(r.git), "objects"),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_SYSTEM=" + os.DevNull, "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_ATTR_NOSYSTEM=1",
		"GIT_TERMINAL_PROMPT=0", "GIT_ALLOW_PROTOCOL=", "GIT_NO_LAZY_FETCH=1", "GIT_NO_REPLACE_OBJECTS=1", "GIT_OPTIONAL_LOCKS=0",
	}
	cmd.Stdin = strings.NewReader(input)
	cmd.WaitDelay = time.Second
	var said bytes.Buffer
	cmd.Stderr = &limited{to: &said, left: 4 << 10}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return nil, problem.WrapAs(problem.Unavailable, err, "starting git")
	}
	text, err := io.ReadAll(io.LimitReader(bufio.NewReader(out), most))
	if int64(len(text)) == most {
		cancel() // whoever asked sees that it is too long
	}
	failed := cmd.Wait()
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, problem.New(problem.Unavailable, "git took longer than %s", timeLimit)
	case err != nil:
		return nil, problem.WrapAs(problem.Unavailable, err, "reading from git")
	case failed != nil && int64(len(text)) < most:
		line, _, _ := strings.Cut(strings.TrimSpace(said.String()), "\n")
		return nil, problem.WrapAs(problem.NotFound, failed, "git: %.200s", line)
	}
	return text, nil
}

// emptyRepository makes what git takes for a repository, without anything in it.
func emptyRepository(dir string, sha256 bool) error {
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n"
	if sha256 {
		config = "[core]\n\trepositoryformatversion = 1\n\tbare = true\n[extensions]\n\tobjectformat = sha256\n"
	}
	return errors.Join(
		os.Mkdir(filepath.Join(dir, "refs"), 0o700),
		os.Mkdir(filepath.Join(dir, "objects"), 0o700),
		os.WriteFile(filepath.Join(dir, "HEAD"), []byte("ref: refs/heads/none\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "config"), []byte(config), 0o600),
	)
}

// limited takes the first bytes and drops the rest.
type limited struct {
	to   *bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	n := min(len(p), l.left)
	l.left -= n
	_, _ = l.to.Write(p[:n])
	return len(p), nil
}
