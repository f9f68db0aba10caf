package session

import (
	"strings"
	"testing"

	"quire/internal/auth"
	"quire/internal/contents"
	"quire/internal/session/ydoc"
)

// TestMerge brings together what two people made of one notebook.
func TestMerge(t *testing.T) {
	t.Parallel()
	old := strings.Replace(strings.NewReplacer(`"id": "one",`, "", `"id": "two", `, "", `"id": "three", `, "").Replace(sample), `"nbformat_minor": 5`, `"nbformat_minor": 4`, 1)
	for _, tt := range []struct {
		name         string
		base         string
		ours, theirs []string // what is replaced, by turns
		has          []string
		conflicts    int
	}{
		{"two cells", sample, []string{"z = 3", "z = 4"}, []string{"# Title", "# Titles"}, []string{"z = 4", "# Titles", "12345678901234567890"}, 0},
		{"cells without ids", old, []string{"z = 3", "z = 4"}, []string{"# Title", "# Titles"}, []string{"z = 4", "# Titles"}, 0},
		{"two lines of one cell", sample, []string{"x = 1", "x = 10"}, []string{"y = 2", "y = 20"}, []string{"x = 10", "y = 20"}, 0},
		{"the same", sample, []string{"z = 3", "z = 4"}, []string{"z = 3", "z = 4"}, []string{"z = 4"}, 0},
		{"one line", sample, []string{"z = 3", "z = 4"}, []string{"z = 3", "z = 5"}, nil, 1},
		{"an output and a text", sample, []string{`"hello\n"`, `"bye\n"`}, []string{"z = 3", "z = 5"}, []string{`bye\n`, "z = 5"}, 0},
		{"two outputs", sample, []string{`"hello\n"`, `"bye\n"`}, []string{`"hello\n"`, `"hi\n"`}, nil, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			merged, conflicts, err := Merge([]byte(tt.base), []byte(strings.NewReplacer(tt.ours...).Replace(tt.base)), []byte(strings.NewReplacer(tt.theirs...).Replace(tt.base)))
			if err != nil || len(conflicts) != tt.conflicts {
				t.Fatalf("conflicts %q, %v", conflicts, err)
			}
			for _, want := range tt.has {
				if !strings.Contains(string(merged), want) {
					t.Errorf("%q is not in\n%s", want, merged)
				}
			}
			if tt.base == old && strings.Contains(string(merged), `"id"`) {
				t.Error("cells got ids that the format has not")
			}
		})
	}
	if _, _, err := Merge([]byte(sample), []byte("{"), []byte(sample)); err == nil {
		t.Error("what is no notebook was merged")
	}
}

// TestHeldDocument lets somebody write the file of an open document: all that was
// in the document is in the file before, nothing is written over it meanwhile, and
// what they changed is known exactly, also when they put an older text back.
func TestHeldDocument(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	first := b.file(t)
	c := b.connect(t, nil)
	edit := func(text string) {
		c.edit(func(cells *ydoc.Array) { cells.Map(2).Text("source").Replace(text) })
	}
	edit("z = 'live'")
	release := b.Hold(t.Context(), nbPath)
	held := b.file(t)
	if !strings.Contains(held, "z = 'live'") {
		t.Fatal("the document was not written")
	}
	c.edit(func(cells *ydoc.Array) { cells.Map(1).Text("source").Replace("# Meanwhile") })
	b.save(t, first)
	if got := b.file(t); got != first {
		t.Errorf("the document was written while it was held:\n%s", got)
	}
	release(hashOf([]byte(held)))
	c.waitFor("their text", func() bool { return c.source(2) == "z = 3" })
	waitFor(t, "both in the file", func() bool {
		now := b.file(t)
		return strings.Contains(now, "z = 3") && strings.Contains(now, "# Meanwhile")
	})
	b.Hold(t.Context(), "users/ann/none.ipynb")("") // there is nothing to hold
}

// TestVersionsAside makes versions that were never the newest while a document is
// open: a checkpoint, and a save that is refused. The document goes on.
func TestVersionsAside(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	c := b.connect(t, nil)
	for i, aside := range []func() error{
		func() error {
			_, err := b.volume.AddCheckpoint(t.Context(), ann, nbPath)
			return err
		},
		func() error {
			_, err := b.volume.Save(t.Context(), ann, nbPath, strings.NewReader(strings.Replace(sample, "# Title", "# Late", 1)), contents.SaveOptions{Base: 1000})
			if err == nil {
				t.Error("a stale save was taken")
			}
			return nil
		},
	} {
		if err := aside(); err != nil {
			t.Fatal(err)
		}
		text := "z = " + string(rune('a'+i))
		c.edit(func(cells *ydoc.Array) { cells.Map(2).Text("source").Replace(text) })
		waitFor(t, "the edit in the file", func() bool { return strings.Contains(b.file(t), text) })
	}
	if got := c.source(1); got != "# Title" {
		t.Errorf("what was refused came in: %q", got)
	}
	all, err := b.volume.Versions(t.Context(), auth.User{Name: "ann"}, nbPath, 0, 100)
	if err != nil || len(all) > 8 {
		t.Errorf("%d versions, want a handful: %v", len(all), err)
	}
}

// TestSaveHasWhatWasThereWhenAsked asks for a save while one is under way that
// began before the last edit: the answer comes with one that has it.
func TestSaveHasWhatWasThereWhenAsked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.save(t, sample)
	c := b.connect(t, nil)
	room, err := b.Open(t.Context(), c.info.Room())
	if err != nil {
		t.Fatal(err)
	}
	saved := make(chan string, 1)
	var begin func() error
	begin = func() error {
		if room.atDisk {
			go room.postAlways(func() { _ = begin() })
			return nil
		}
		cells := room.doc.Array(rootCells)
		cells.Map(2).Text("source").Replace("z = 'early'")
		room.save() // it ends after this, in the room
		cells.Map(2).Text("source").Replace("z = 'late'")
		room.saveNow(func(string) {
			saved <- b.file(t)
		})
		return nil
	}
	if err := room.do(t.Context(), begin); err != nil {
		t.Fatal(err)
	}
	if file := <-saved; !strings.Contains(file, "z = 'late'") {
		t.Errorf("the file that was said to be saved is\n%s", file)
	}
}
