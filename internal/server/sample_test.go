package server

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/notebook"
	"quire/internal/parameter"
)

// TestSampleNotebooksAreWhole reads every notebook of the sample and checks what
// a newcomer is promised of it.
func TestSampleNotebooksAreWhole(t *testing.T) {
	t.Parallel()
	count := 0
	err := fs.WalkDir(sampleFiles, "sample", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, ".ipynb") {
			return err
		}
		count++
		data, err := sampleFiles.ReadFile(name)
		if err != nil {
			return err
		}
		nb, err := notebook.Parse(data)
		if err != nil {
			return err
		}
		if err := nb.Validate(); err != nil || len(nb.Warnings) > 0 {
			t.Errorf("%s: %v %v", name, err, nb.Warnings)
		}
		if nb.KernelName() != "python3" || nb.Metadata.String("title") == "" || nb.Metadata.Object("nteract").String("description") == "" {
			t.Errorf("%s: metadata %v", name, nb.Metadata)
		}
		i := nb.ParametersCell()
		if i < 0 {
			t.Errorf("%s: no parameters cell", name)
			return nil
		}
		definitions, warnings := parameter.Inspect(nb.Language(), nb.Cells[i].Source)
		if len(definitions) == 0 || len(warnings) > 0 {
			t.Errorf("%s: parameters %v %v", name, definitions, warnings)
		}
		for _, d := range definitions {
			if d.Help == "" || d.Type == "" {
				t.Errorf("%s: %s has type %q and help %q", name, d.Name, d.Type, d.Help)
			}
		}
		if !bytes.Contains(data, []byte("quire.record(")) && !bytes.Contains(data, []byte("kg.record(")) {
			t.Errorf("%s: records nothing", name)
		}
		if !bytes.Contains(data, []byte("plot")) {
			t.Errorf("%s: draws nothing", name)
		}
		return nil
	})
	if err != nil || count < 9 {
		t.Errorf("%d notebooks: %v", count, err)
	}
}

// sampleServer opens a server on dir.
func sampleServer(t *testing.T, dir string) *Server {
	t.Helper()
	s, err := New(t.Context(), Config{Data: dir, Listen: "127.0.0.1:0", User: "ann", Sample: true}, Options{Command: []string{"false"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestSampleComesOnceOnAnEmptyVolume(t *testing.T) {
	t.Parallel()
	dir, me := t.TempDir(), auth.User{Name: "ann", Admin: true}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := sampleServer(t, dir)
	if !s.sampled {
		t.Error("the sample was not put on the empty volume")
	}
	page, err := s.volume.List(t.Context(), me, "users/mufford", contents.ListOptions{Sort: contents.ByModified})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range page.Entries {
		names = append(names, e.Name)
	}
	if got := strings.Join(names, " "); got != "MySparkJob.ipynb New_Titles.ipynb playback_agg.ipynb Untitled3.ipynb" {
		t.Errorf("mufford has %s", got)
	}
	if age := time.Since(page.Entries[0].Modified); age < 6*time.Hour || age > 6*time.Hour+time.Minute {
		t.Errorf("the newest is %s old", age)
	}
	versions, err := s.volume.Versions(t.Context(), me, "users/mufford/MySparkJob.ipynb", 0, 0)
	if err != nil || len(versions) != 1 || versions[0].Author != "mufford" || !versions[0].Time.Equal(page.Entries[0].Modified.Truncate(time.Microsecond)) {
		t.Errorf("versions %+v: %v", versions, err)
	}
	if _, err := s.volume.Stat(t.Context(), me, "users/ann/Welcome.ipynb"); err != nil {
		t.Error(err)
	}
	err = errors.Join(s.volume.Delete(t.Context(), me, "users/mufford/MySparkJob.ipynb"), s.Close())
	if err != nil {
		t.Fatal(err)
	}
	s = sampleServer(t, dir)
	if _, err := s.volume.Stat(t.Context(), me, "users/mufford/MySparkJob.ipynb"); err == nil || s.sampled {
		t.Error("what was deleted of the sample came back")
	}
}

// TestSampleGoesOnAfterACut begins with what a start that died has left.
func TestSampleGoesOnAfterACut(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s := sampleServer(t, dir)
	err := errors.Join(s.Close(), os.WriteFile(filepath.Join(dir, sampleFile), []byte(sampleBegun), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	s = sampleServer(t, dir)
	if !s.sampled {
		t.Error("it did not go on")
	}
	if _, err := s.volume.Stat(t.Context(), auth.User{Name: "ann"}, "users/mpacer/sampling.ipynb"); err != nil {
		t.Error(err)
	}
}

func TestSampleStaysOffAVolumeInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	err := errors.Join(os.Chmod(dir, 0o700), os.MkdirAll(filepath.Join(dir, "files/users/zoe"), 0o755),
		os.WriteFile(filepath.Join(dir, "files/users/zoe/a.txt"), []byte("x"), 0o600))
	if err != nil {
		t.Fatal(err)
	}
	if s := sampleServer(t, dir); s.sampled {
		t.Error("the sample was put among somebody's files")
	}
	if _, err := os.Stat(filepath.Join(dir, "files/users/mufford")); err == nil {
		t.Error("mufford is there")
	}
}
