package gitrepo_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"quire/internal/gitrepo"
	"quire/internal/problem"
)

const most = 1 << 20

// git runs git as a person would, in a folder.
func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "HOME="+t.TempDir(),
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=maintenance.auto", "GIT_CONFIG_VALUE_0=false", // nothing goes on in the background
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// repository is one with two commits: "one" has the tag v1 and is of the branch old,
// "two" is main.
func repository(t *testing.T) (root, dir, one, two string) {
	t.Helper()
	root = t.TempDir()
	dir = filepath.Join(root, "shared", "etl")
	write(t, filepath.Join(dir, "nb", "a.ipynb"), "one")
	git(t, dir, "init", "-q", "-b", "main")
	git(t, dir, "add", ".")
	git(t, dir, "commit", "-qm", "one")
	git(t, dir, "tag", "-am", "first", "v1")
	git(t, dir, "branch", "feature/old")
	one = git(t, dir, "rev-parse", "HEAD")
	write(t, filepath.Join(dir, "nb", "a.ipynb"), "two")
	git(t, dir, "commit", "-qam", "two")
	return root, dir, one, git(t, dir, "rev-parse", "HEAD")
}

func find(t *testing.T, root string) gitrepo.Repository {
	t.Helper()
	repo, rest, err := gitrepo.Find(root, "shared", "shared/etl/nb/a.ipynb")
	if err != nil || rest != "nb/a.ipynb" || repo.Path != "shared/etl" {
		t.Fatalf("found %s in %q: %v", rest, repo.Path, err)
	}
	return repo
}

func TestRefsAndFiles(t *testing.T) {
	t.Parallel()
	root, dir, one, two := repository(t)
	write(t, filepath.Join(dir, "nb", "a.ipynb"), "changed and not committed")
	repo, ctx := find(t, root), t.Context()
	check := func() {
		t.Helper()
		for ref, want := range map[string]string{"main": two, "HEAD": two, "v1": one, "refs/heads/main": two, "feature/old": one, one: one} {
			got, err := repo.Resolve(ctx, ref)
			if err != nil || got != want {
				t.Errorf("%s is %s (%v), want %s", ref, got, err, want)
			}
		}
		for commit, want := range map[string]string{one: "one", two: "two"} {
			if text, err := repo.Read(ctx, commit, "nb/a.ipynb", most); err != nil || string(text) != want {
				t.Errorf("at %s it is %q (%v), want %q", commit, text, err, want)
			}
		}
	}
	check()
	git(t, dir, "pack-refs", "--all")
	git(t, dir, "gc", "-q")
	check()
	for _, ref := range []string{"none", "-x", "main..v1", "../../x", "main@{1}", "a b", "", strings.Repeat("0", 40), "feature"} {
		if got, err := repo.Resolve(ctx, ref); err == nil {
			t.Errorf("%q is %s", ref, got)
		}
	}
	for _, name := range []string{"nb", "nb/b.ipynb", "../a", "/etc/passwd", "nb/a.ipynb\n" + two + ":nb"} {
		if text, err := repo.Read(ctx, two, name, most); err == nil {
			t.Errorf("%q is %q", name, text)
		}
	}
	if _, err := repo.Read(ctx, two, "nb/a.ipynb", 2); !problem.Is(err, problem.TooLarge) {
		t.Errorf("more than may be read: %v", err)
	}
	if _, _, err := gitrepo.Find(root, "shared", "shared/other/a.ipynb"); !problem.Is(err, problem.Invalid) {
		t.Errorf("without a repository: %v", err)
	}
	if repo, _, err := gitrepo.Find(root, "shared/etl/nb", "shared/etl/nb/a.ipynb"); err == nil {
		t.Errorf("above what may be looked at: %s", repo.Path)
	}
}

// TestWhileGitPacks: a branch is found, and objects are read, while git packs both.
func TestWhileGitPacks(t *testing.T) {
	t.Parallel()
	root, dir, _, two := repository(t)
	repo, within := find(t, root), filepath.Join(dir, ".git")
	packed := "# pack-refs with: peeled fully-peeled sorted\n"
	for i := range 100 {
		name := fmt.Sprintf("refs/heads/b%d", i)
		write(t, filepath.Join(within, name), two+"\n")
		packed += two + " " + name + "\n"
		write(t, filepath.Join(within, "new"), packed)
		folder := filepath.Join(within, "objects", fmt.Sprintf("f%x", i%16))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		var git sync.WaitGroup
		git.Go(func() {
			for range i * 200 { // a little later each time
				runtime.Gosched()
			}
			if err := errors.Join(os.Rename(filepath.Join(within, "new"), filepath.Join(within, "packed-refs")), os.Remove(filepath.Join(within, name))); err != nil {
				t.Error(err)
			}
			_ = os.Remove(folder) // where it is empty
		})
		got, err := repo.Resolve(t.Context(), fmt.Sprintf("b%d", i))
		git.Wait()
		if err != nil || got != two {
			t.Fatalf("branch %d is %s (%v), want %s", i, got, err, two)
		}
	}
}

// TestHostileRepositories: nothing of a repository runs a program, and nothing
// outside of it is read.
func TestHostileRepositories(t *testing.T) {
	t.Parallel()
	root, dir, one, two := repository(t)
	repo, ctx := find(t, root), t.Context()
	ran := filepath.Join(root, "ran")
	program := filepath.Join(root, "program")
	write(t, program, "#!/bin/sh\ntouch "+ran+"\n")
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	// Whatever can run a program: a monitor, hooks, a pager, filters, and a remote that
	// is asked for objects that are not there.
	write(t, filepath.Join(dir, ".git", "config"), "[core]\nrepositoryformatversion=1\nfsmonitor="+program+"\nhooksPath="+root+"\npager="+program+"\nsshCommand="+program+
		"\n[extensions]\npartialClone=origin\n[remote \"origin\"]\nurl=ext::"+program+"\nuploadpack="+program+"\npromisor=true\n[filter \"x\"]\nsmudge="+program+"\n[protocol]\nallow=always\n[alias]\ncat-file=!"+program+"\n")
	write(t, filepath.Join(dir, ".gitattributes"), "* filter=x\n")
	if text, err := repo.Read(ctx, two, "nb/a.ipynb", most); err != nil || string(text) != "two" {
		t.Errorf("with a hostile configuration: %q, %v", text, err)
	}
	blob := git(t, root, "--git-dir", filepath.Join(dir, ".git"), "-c", "core.fsmonitor=false", "rev-parse", one+":nb/a.ipynb")
	_ = os.Remove(ran)
	if err := os.Remove(filepath.Join(dir, ".git", "objects", blob[:2], blob[2:])); err != nil {
		t.Fatal(err)
	}
	if text, err := repo.Read(ctx, one, "nb/a.ipynb", most); err == nil {
		t.Errorf("an object that is not there is %q", text)
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("a program of the repository's configuration ran")
	}
	heads, objects := filepath.Join(dir, ".git", "refs", "heads"), filepath.Join(dir, ".git", "objects")
	link := func(to, at string) {
		t.Helper()
		if err := os.Symlink(to, at); err != nil {
			t.Fatal(err)
		}
	}
	link("/etc/passwd", filepath.Join(heads, "evil"))
	write(t, filepath.Join(heads, "odd"), "ref: ../../../etc/passwd\n")
	write(t, filepath.Join(heads, "round"), "ref: refs/heads/round\n")
	write(t, filepath.Join(heads, "long"), strings.Repeat("a", 1<<20))
	for _, ref := range []string{"evil", "odd", "round", "long"} {
		if got, err := repo.Resolve(ctx, ref); err == nil || strings.Contains(err.Error(), "root:") {
			t.Errorf("%s is %q: %v", ref, got, err)
		}
	}
	write(t, filepath.Join(objects, "info", "alternates"), "/elsewhere\n")
	if _, err := repo.Read(ctx, two, "nb/a.ipynb", most); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "alternates") {
		t.Errorf("with borrowed objects: %v", err)
	}
	_ = os.Remove(filepath.Join(objects, "info", "alternates"))
	link("/etc/passwd", filepath.Join(objects, "pack", "pack-x.pack"))
	if _, err := repo.Read(ctx, two, "nb/a.ipynb", most); !problem.Is(err, problem.Invalid) {
		t.Errorf("with a link among its objects: %v", err)
	}
	_ = os.Remove(filepath.Join(objects, "pack", "pack-x.pack"))
	if err := os.Rename(objects, filepath.Join(root, "objects")); err != nil {
		t.Fatal(err)
	}
	link(filepath.Join(root, "objects"), objects)
	if _, err := repo.Read(ctx, two, "nb/a.ipynb", most); !problem.Is(err, problem.Invalid) {
		t.Errorf("with its objects elsewhere: %v", err)
	}
	write(t, filepath.Join(root, "shared", "tree", ".git"), "gitdir: ../etl/.git\n")
	if _, _, err := gitrepo.Find(root, "shared", "shared/tree/a.ipynb"); !problem.Is(err, problem.Invalid) || !strings.Contains(err.Error(), "worktree") {
		t.Errorf("a worktree: %v", err)
	}
}
