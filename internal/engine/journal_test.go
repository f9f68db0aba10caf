package engine

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"quire/internal/kernel"
	"quire/internal/kernel/kerneltest"
	"quire/internal/notebook"
	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/mem"
)

// killMeEnv makes the test's binary an engine that the test kills.
const killMeEnv = "QUIRE_ENGINE_TEST_KILL_ME"

// runUntilKilled runs a notebook whose third cell never ends.
func runUntilKilled(path string) {
	finder := kernel.Finder{Paths: []string{os.Getenv("QUIRE_ENGINE_TEST_KERNELS")}}
	_, _ = Run(context.Background(), Request{
		Source: book("fake", "print one", "print two", "print three\nsleep 1h", "print four"), OutputPath: path,
		Output: NewFile(path, FileOptions{}), Kernels: finder,
	})
	os.Exit(3)
}

// TestKilledEngine kills an engine with SIGKILL in the middle of a cell: every
// cell that had ended is there.
func TestKilledEngine(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.ipynb")
	finder := fakeKernels(t, kerneltest.Options{})
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	private := t.TempDir()
	cmd.Env = append(os.Environ(), "TMPDIR="+private, killMeEnv+"="+path, "QUIRE_ENGINE_TEST_KERNELS="+finder.Paths[0])
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill() }()
	waitFor(t, func() bool {
		data, _ := os.ReadFile(journalName(path))
		return bytes.Contains(data, []byte(`{"t":"start","i":2`))
	})
	live, rec, err := ReadFile(path)
	if err != nil || rec == nil || !rec.Live || rec.Running != 2 {
		t.Fatalf("while it runs: %+v, %v", rec, err)
	}
	if diff := cmp.Diff([]string{done, done, "running", pending}, statuses(live)); diff != "" {
		t.Errorf("cell states of the live run (-want +got):\n%s", diff)
	}
	if _, err := Recover(path); problem.KindOf(err) != problem.Conflict {
		t.Errorf("recovering a live run: %v, want a conflict", err)
	}
	if err := NewFile(path, FileOptions{}).Begin(context.Background(), live); problem.KindOf(err) != problem.Conflict {
		t.Errorf("a second run to the same path: %v, want a conflict", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	left := func() int {
		found, _ := filepath.Glob(filepath.Join(private, runDirPrefix+"*"))
		return len(found)
	}
	if left() != 1 {
		t.Errorf("%d private folders of a killed run, want 1", left())
	}
	removeStale(private)
	if left() != 0 {
		t.Error("what the killed engine left behind is still there")
	}

	rec, err = Recover(path)
	if err != nil || rec == nil || rec.Live || rec.Finished != 2 {
		t.Fatalf("recovery %+v, %v", rec, err)
	}
	out := readBook(t, path)
	if diff := cmp.Diff([]string{done, done, failed, pending}, statuses(out)); diff != "" {
		t.Errorf("cell states (-want +got):\n%s", diff)
	}
	if texts(out.Cells[1])[0] != "one\n" || texts(out.Cells[2])[0] != "two\n" {
		t.Errorf("outputs %q and %q", texts(out.Cells[1]), texts(out.Cells[2]))
	}
	if out.Metadata.Object("quire")["status"] != "interrupted" || out.Metadata.Object("papermill")["exception"] != true {
		t.Errorf("metadata %v", out.Metadata["quire"])
	}
	if rec, err := Recover(path); rec != nil || err != nil {
		t.Errorf("recovering twice: %+v, %v", rec, err)
	}
}

// waitFor polls a condition that another process brings about.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	end := time.After(time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatal("waited a minute for another process")
		}
	}
}

// journalOf makes a journal of three cells, as text.
func journalOf(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "j")
	j, err := createJournal(path, "run-1", 3, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"one\ttab", "two\nlines", "NaN"} {
		c := notebook.NewCode(text)
		c.Metadata["n"] = notebook.Number("NaN")
		data, err := c.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if err := j.add(entry{Type: entryStart, Index: i, At: time.Unix(int64(i), 0)}); err != nil {
			t.Fatal(err)
		}
		if err := j.add(entry{Type: entryCell, Index: i, cell: data}); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.flush(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestTornJournal cuts a journal at every byte: all whole lines before count.
func TestTornJournal(t *testing.T) {
	t.Parallel()
	data := journalOf(t)
	for n := range len(data) + 1 {
		content, err := readJournal(bytes.NewReader(data[:n]))
		if err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		whole := bytes.Count(data[:n], []byte(`{"t":"cell"`))
		if n > 0 && data[n-1] != '\n' && bytes.LastIndex(data[:n], []byte(`{"t":"cell"`)) > bytes.LastIndexByte(data[:n], '\n') {
			whole--
		}
		if len(content.finished) != whole {
			t.Fatalf("cut at %d: %d cells, want %d", n, len(content.finished), whole)
		}
		if torn := n == 0 || data[n-1] != '\n'; content.torn != torn {
			t.Fatalf("cut at %d: torn %v, want %v", n, content.torn, torn)
		}
	}
	content, err := readJournal(bytes.NewReader(data))
	if err != nil || content.finished[0].Source != "one\ttab" || content.running != -1 {
		t.Errorf("whole journal: %+v, %v", content, err)
	}
}

// TestDamagedJournal changes one byte: nothing behind it is believed.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	data := journalOf(t)
	at := bytes.Index(data, []byte("two"))
	data[at] = 'T'
	content, err := readJournal(bytes.NewReader(data))
	if err != nil || len(content.finished) != 1 || !content.torn {
		t.Errorf("%d cells, torn %v, %v", len(content.finished), content.torn, err)
	}
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte("00000000 {\"t\":\"run\"}\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(_ *testing.T, data []byte) {
		_, _ = readJournal(bytes.NewReader(data)) // must end, and not panic
	})
}

// TestFullDisk runs out of space while it writes: the old bytes stay.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	out := NewFile("/dev/full", FileOptions{})
	_, _, _, err := runFake(t, Request{Output: out}, "print a")
	if err == nil || !strings.Contains(err.Error(), "is kept in ") {
		t.Fatalf("error %v, want one that says where the output is kept", err)
	}
	_, rescued, _ := strings.Cut(err.Error(), "is kept in ")
	rescued, _, _ = strings.Cut(rescued, " instead")
	if got := texts(readBook(t, rescued).Cells[0]); got[0] != "a\n" {
		t.Errorf("the kept notebook shows %q", got)
	}
	if err := os.RemoveAll(filepath.Dir(rescued)); err != nil {
		t.Error(err)
	}
	if problem.KindOf(err) != problem.Unavailable || !strings.Contains(err.Error(), "/dev/full") || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("error %v", err)
	}
}

// TestStoreOutput keeps the output in a store.
func TestStoreOutput(t *testing.T) {
	t.Parallel()
	store := mem.New(mem.Config{})
	run := func(once bool) error {
		_, err := Run(context.Background(), Request{
			Source: book("fake", "print a", "print first\nflood 3 2000"), OutputPath: "runs/out.ipynb", MaxOutput: 3000,
			Output:  NewStoreFile(store, "runs/out.ipynb", FileOptions{WriteOnce: once}),
			Kernels: fakeKernels(t, kerneltest.Options{}),
		})
		return err
	}
	if err := run(true); err != nil {
		t.Fatal(err)
	}
	text, _, err := storage.ReadAll(context.Background(), store, "runs/out.outputs/cell-2.stdout.txt", 1<<20)
	if err != nil || len(text) < 6000 || !bytes.HasPrefix(text, []byte("first\n")) {
		t.Errorf("the large output: %d bytes, %v", len(text), err)
	}
	if err := run(true); problem.KindOf(err) != problem.Exists {
		t.Errorf("a second run: %v, want exists", err)
	}
	if err := run(false); err != nil {
		t.Errorf("replacing: %v", err)
	}
}

// TestFinishedIsStored looks into the output at the moment when a cell is said
// to have ended: a kill right then must not lose it.
func TestFinishedIsStored(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.ipynb")
	seen := 0
	_, err := Run(t.Context(), Request{
		Source: book("fake", "print a", "print b"), OutputPath: path,
		Output: NewFile(path, FileOptions{}), Kernels: fakeKernels(t, kerneltest.Options{}),
		Events: func(e Event) {
			if e.Type != EventCellFinished {
				return
			}
			seen++
			nb, _, err := ReadFile(path)
			if err != nil {
				t.Error(err)
				return
			}
			if got := cellStatus(nb.Cells[*e.Index]); got != e.Status {
				t.Errorf("cell %d is said to be %s, and stored as %s", e.Cell, e.Status, got)
			}
		},
	})
	if err != nil || seen != 2 {
		t.Errorf("%d cells ended, want 2: %v", seen, err)
	}
}

// TestReadWhileItBegins: who reads a journal does not keep a run from writing it,
// nor who takes one away that was left.
func TestReadWhileItBegins(t *testing.T) {
	t.Parallel()
	for _, remove := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "j")
		reader, err := os.Create(path)
		if err != nil || !lockFile(reader) {
			t.Fatalf("the reader's lock: %v", err)
		}
		time.AfterFunc(20*time.Millisecond, func() {
			if remove {
				_ = os.Remove(path)
			}
			_ = reader.Close()
		})
		j, err := createJournal(path, "run-1", 3, time.Unix(0, 0))
		if err != nil {
			t.Fatalf("a run was refused: %v", err)
		}
		if !names(path, j.f) {
			t.Error("the journal is not where it is looked for")
		}
		if _, err := createJournal(path, "run-2", 3, time.Unix(0, 0)); !problem.Is(err, problem.Conflict) {
			t.Errorf("a second run: %v", err)
		}
		j.discard()
	}
}

// TestReadByTwo: a run that was killed is not taken for a live one because somebody
// else reads its journal just then, and is recovered all the same.
func TestReadByTwo(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "out.ipynb")
	_, err := Run(t.Context(), Request{
		Source: book("fake", "print a"), OutputPath: path, Output: lostOutput{NewFile(path, FileOptions{})}, Kernels: fakeKernels(t, kerneltest.Options{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	_, _, reader, err := readWithJournal(path, shareLock)
	if err != nil || reader == nil {
		t.Fatalf("reading it: %v", err)
	}
	if _, rec, err := ReadFile(path); err != nil || rec == nil || rec.Live {
		t.Errorf("while another one reads it: %+v, %v", rec, err)
	}
	time.AfterFunc(20*time.Millisecond, func() { _ = reader.Close() })
	if rec, err := Recover(path); err != nil || rec == nil || rec.Finished != 1 {
		t.Errorf("recovered %+v: %v", rec, err)
	}
}
