package ydoc

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"quire/internal/problem"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// TestBuildingIsDeterministic builds one notebook twice: a client that comes back
// after a restart must find the same items.
func TestBuildingIsDeterministic(t *testing.T) {
	t.Parallel()
	if a, b := base(50), base(50); !bytes.Equal(a, b) {
		t.Error("one notebook gave two updates")
	}
	d := New(7)
	for range 2 {
		if err := d.Apply(base(50), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.Array("cells").Len(); n != 50 {
		t.Errorf("built twice, it has %d cells, want 50", n)
	}
}

func TestPositionsAreUTF16(t *testing.T) {
	t.Parallel()
	d := New(1)
	text := d.Text("t")
	text.Insert(0, "a😀b")
	if text.Len() != 4 {
		t.Errorf("length %d, want 4", text.Len())
	}
	text.Insert(3, "中")
	if got := text.String(); got != "a😀中b" {
		t.Errorf("got %q", got)
	}
	text.Insert(2, "|") // between the halves of the pair
	if got := text.String(); got != "a\ufffd|\ufffd中b" {
		t.Errorf("got %q", got)
	}
	text.Delete(1, 3)
	text.Replace("a中c")
	if got := text.String(); got != "a中c" {
		t.Errorf("got %q", got)
	}
}

// TestEdits holds random edits of one text and one array against a plain slice.
func TestEdits(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 5))
	d := New(1)
	array, want := d.Array("a"), []any{}
	for range 3000 {
		switch i := r.IntN(len(want) + 1); {
		case r.IntN(3) > 0:
			v := []any{float64(r.IntN(100)), "s"}[:1+r.IntN(2)]
			array.Insert(i, v...)
			want = slices.Insert(want, i, v...)
		case i < len(want):
			n := min(1+r.IntN(3), len(want)-i)
			array.Delete(i, n)
			want = slices.Delete(want, i, i+n)
		}
		if len(want) > 0 {
			if i := r.IntN(len(want)); array.Get(i) != want[i] {
				t.Fatalf("element %d is %v, want %v", i, array.Get(i), want[i])
			}
		}
	}
	if got := array.JSON(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	checkSound(t, d)
}

func TestEventsSayWhatChanged(t *testing.T) {
	t.Parallel()
	d := New(1)
	if err := d.Apply(base(3), nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	d.Changed = func(e Event) {
		for _, c := range e.Changes() {
			got = append(got, fmt.Sprintln(c.Path(), c.Keys(), c.Delta(), e.Origin, e.Local))
		}
	}
	cells := d.Array("cells")
	d.Transact("me", func() {
		cells.Map(2).Text("source").Insert(1, "yy")
		cells.Map(1).Set("execution_count", 3)
		cells.Delete(0, 1)
		newCell(cells, 1, "new", "text")
	})
	want := []string{
		"[cells] [] [{0 0 1} {1 0 0} {0 1 0}] me true\n",
		"[cells 0] [execution_count] [] me true\n",
		"[cells 2 source] [] [{1 0 0} {0 2 0}] me true\n",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDeletedContentGoes wants the memory of deleted outputs back.
func TestDeletedContentGoes(t *testing.T) {
	t.Parallel()
	d := New(1)
	outputs := d.Array("cells")
	for range 500 {
		d.Transact(nil, func() {
			outputs.InsertMap(0).SetText("text").Insert(0, strings.Repeat("x", 1000))
		})
		outputs.Delete(0, 1)
	}
	update, err := d.Update(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(update) > 10_000 || d.Structs() > 1000 {
		t.Errorf("after all is deleted, %d items in %d bytes are left", d.Structs(), len(update))
	}
}

// TestStreamGrowsInPlace appends to a text as a long output does.
func TestStreamGrowsInPlace(t *testing.T) {
	t.Parallel()
	d := New(1)
	text := d.Array("outputs").InsertMap(0).SetText("text")
	line := strings.Repeat("y", 99) + "\n"
	start := time.Now()
	for range 50_000 {
		text.Append(line)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("5 MB in 50,000 lines took %v: appending copies what is there", took)
	}
	if text.Len() != 5_000_000 || d.Structs() > 3 {
		t.Errorf("%d units in %d items", text.Len(), d.Structs())
	}
}

// hostile builds updates by hand.
type hostile struct{ writer }

func (h *hostile) client(structs, client, clock uint64) *hostile {
	h.uint(structs)
	h.uint(client)
	h.uint(clock)
	return h
}

// rootString is a string at the top level, with no neighbours.
func (h *hostile) rootString(s string) *hostile {
	h.byte(contentString)
	h.uint(1)
	h.string("t")
	h.string(s)
	return h
}

func (h *hostile) bytes(b ...byte) *hostile { h.raw(b); return h }

// conflicts are items of n clients that were all inserted at the beginning of one
// text, each before another character of it.
func conflicts(n int) []byte {
	h := &hostile{}
	h.uint(uint64(n) + 1)
	h.client(1, MaxClient, 0).rootString(strings.Repeat("x", n))
	for i := range n {
		h.client(1, uint64(n-i), 0)
		h.byte(contentString | 0x40)
		h.id(ID{MaxClient, uint64(i)})
		h.string("x")
	}
	return append(h.b, 0)
}

func nested(n int) []byte {
	h := &hostile{}
	h.uint(1)
	h.client(uint64(n), 1, 0)
	h.bytes(contentType, 1)
	h.string("t")
	h.uint(kindArray)
	for i := range n - 1 {
		h.bytes(contentType, 0)
		h.id(ID{1, uint64(i)})
		h.uint(kindArray)
	}
	return append(h.b, 0)
}

// splits cuts a long text that is not ASCII from its end to its beginning.
func splits(size, n int) []byte {
	h := &hostile{}
	h.uint(2)
	h.client(uint64(n), 2, 0)
	for i := range n {
		h.byte(contentString | 0x80)
		h.id(ID{1, uint64(size - 2 - i)})
		h.string("y")
	}
	h.client(1, 1, 0).rootString(strings.Repeat("é", size))
	return append(h.b, 0)
}

func waiting(n int) []byte {
	h := &hostile{}
	h.uint(1)
	h.client(uint64(n), 1, 5)
	for range n {
		h.byte(contentString | 0x80)
		h.id(ID{9, 100})
		h.string("y")
	}
	return append(h.b, 0)
}

// TestHostileUpdates: each is refused or taken in a time that fits its size.
func TestHostileUpdates(t *testing.T) {
	deep := bytes.Repeat([]byte{valueArray, 1}, 1<<20)
	big := func(kind byte, more ...byte) []byte {
		h := &hostile{}
		h.uint(1)
		h.client(1, 1, 0).bytes(kind, 1).string("t")
		return append(append(h.b, more...), 0)
	}
	for _, tt := range []struct {
		name   string
		update []byte
		want   problem.Kind
		ok     bool
	}{
		{"nothing", nil, problem.Invalid, false},
		{"many said to follow", []byte{0xff, 0xff, 0xff, 0xff, 0x0f}, problem.Invalid, false},
		{"many structs said to follow", []byte{1, 0xff, 0xff, 0xff, 0xff, 0x0f, 1, 0}, problem.Invalid, false},
		{"a long string said to follow", big(contentString, 0xff, 0xff, 0xff, 0xff, 0x0f), problem.Invalid, false},
		{"many values said to follow", big(contentAny, 0xff, 0xff, 0xff, 0xff, 0x0f), problem.Invalid, false},
		{"an empty string", big(contentString, 0), problem.Invalid, false},
		{"not UTF-8", big(contentString, 1, 0xff), problem.Invalid, false},
		{"no such content", big(11), problem.Invalid, false},
		{"no such type", big(contentType, 9), problem.Invalid, false},
		{"no such value", big(contentAny, 1, 3), problem.Invalid, false},
		{"a value too deep", big(contentAny, append([]byte{1}, append(deep, valueNull)...)...), problem.Invalid, false},
		{"a number too large", bytes.Repeat([]byte{0xff}, 20), problem.Invalid, false},
		{"a clock at the end", (&hostile{}).bytes(1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0, 5, 0).b, problem.Invalid, false},
		{"builds on itself", (&hostile{}).bytes(1, 1, 1, 0, contentString|0x80, 1, 0, 1, 'x', 0).b, problem.Invalid, false},
		{"a huge gap", (&hostile{}).bytes(1, 1, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f, 0).b, 0, true},
		{"a parent that is no type", (&hostile{}).bytes(1, 2, 1, 0, contentString, 1, 1, 't', 1, 'x', contentString, 0, 1, 0, 1, 'y', 0).b, 0, true},
		{"types too deep", nested(10_000), problem.TooLarge, false},
		{"few conflicts", conflicts(1000), 0, true},
		{"many conflicts", conflicts(200_000), problem.TooLarge, false},
		{"many splits", splits(1<<20, 100_000), problem.TooLarge, false},
		{"much that waits", waiting(MaxPending + 1), problem.TooLarge, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := New(1 << 40)
			d.Text("t").Insert(0, "here")
			start := time.Now()
			err := d.Apply(tt.update, nil)
			if took := time.Since(start); took > time.Minute {
				t.Errorf("it took %v", took)
			}
			if (err == nil) != tt.ok || (err != nil && problem.KindOf(err) != tt.want) {
				t.Errorf("error %v, want kind %v", err, tt.want)
			}
			if err != nil && d.Pending() {
				t.Error("the refused update waits")
			}
			checkSound(t, d)
			d.Text("t").Insert(0, "still ") // the document goes on
			checkSound(t, d)
		})
	}
}

// TestCutUpdates cuts a good update everywhere, and turns each of its bytes.
func TestCutUpdates(t *testing.T) {
	t.Parallel()
	good := base(2)
	for i := range good {
		d := New(5)
		if err := d.Apply(good[:i], nil); !problem.Is(err, problem.Invalid) {
			t.Fatalf("cut at %d of %d: %v", i, len(good), err)
		}
		for _, bit := range []byte{1, 0x20, 0x40, 0x80, 0xff} {
			bad := bytes.Clone(good)
			bad[i] ^= bit
			d := New(5)
			_ = d.Apply(bad, nil)
			checkSound(t, d)
		}
	}
}

// TestPendingComesBack gives an update before what it builds on.
func TestPendingComesBack(t *testing.T) {
	t.Parallel()
	a := New(1)
	var updates [][]byte
	a.Updated = func(u []byte, _ any) { updates = append(updates, u) }
	text := a.Text("t")
	for i := range 40 {
		text.Insert(text.Len()/2, fmt.Sprint(i))
		if i%5 == 0 {
			text.Delete(0, 1)
		}
	}
	slices.Reverse(updates)
	b := New(2)
	b.Text("t")
	for i, u := range updates {
		if err := b.Apply(u, nil); err != nil {
			t.Fatal(err)
		}
		if last := i == len(updates)-1; b.Pending() == last {
			t.Fatalf("after %d of %d updates, pending is %v", i+1, len(updates), b.Pending())
		}
	}
	if b.Text("t").String() != text.String() {
		t.Errorf("got %q, want %q", b.Text("t"), text)
	}
}

func TestAwareness(t *testing.T) {
	t.Parallel()
	entry := func(client, clock uint64, state string) []byte {
		w := &writer{}
		w.uint(1)
		w.uint(client)
		w.uint(clock)
		w.string(state)
		return w.b
	}
	var a Awareness
	steps := []struct {
		name    string
		update  []byte
		at      time.Duration
		changed bool
		present int
	}{
		{"comes", entry(1, 1, `{"x":1}`), 0, true, 1},
		{"the same again", entry(1, 1, `{"x":2}`), 0, false, 1},
		{"newer", entry(1, 2, `{"x":3}`), 20 * time.Second, true, 1},
		{"another", entry(2, 0, `{}`), 20 * time.Second, true, 2},
		{"leaves", entry(2, 1, `null`), 20 * time.Second, true, 1},
		{"late news of who left", entry(2, 1, `{}`), 20 * time.Second, false, 1},
		{"leaves unseen", entry(3, 1, `null`), 20 * time.Second, false, 1},
	}
	for _, s := range steps {
		changed, _, err := a.Apply(s.update, now.Add(s.at))
		if err != nil || (len(changed) > 0) != s.changed || len(a.Clients()) != s.present {
			t.Errorf("%s: changed %v, present %v, %v", s.name, changed, a.Clients(), err)
		}
	}
	if left := a.Expire(now.Add(45 * time.Second)); len(left) > 0 {
		t.Errorf("25 s after a sign, %v left", left)
	}
	if left := a.Expire(now.Add(50 * time.Second)); !slices.Equal(left, []uint64{1}) || len(a.Clients()) > 0 {
		t.Errorf("30 s after a sign, %v left", left)
	}
	for name, bad := range map[string][]byte{
		"not JSON": entry(1, 9, "{"), "cut": entry(1, 9, "{}")[:3], "too many": append(entry(1, 9, "{}"), 0),
		"too large": entry(1, 9, `"`+strings.Repeat("x", MaxPresenceBytes)+`"`),
	} {
		if _, _, err := a.Apply(bad, now); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	var crowd Awareness
	var err error
	for i := range uint64(MaxPresences + maxForgotten + 1) {
		_, _, err = crowd.Apply(entry(i, 1, "{}"), now)
	}
	if !problem.Is(err, problem.TooLarge) {
		t.Errorf("a crowd: %v", err)
	}
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, m := range []Message{
		{Kind: Step1, Data: []byte{0}},
		{Kind: Step2, Data: []byte{0, 0}},
		{Kind: Update, Data: []byte{1, 2, 3}},
		{Kind: Presence, Data: []byte{0}},
		{Kind: Custom, Data: []byte(`{"type":"conflict"}`)},
		{Kind: QueryAwareness},
	} {
		got, err := ReadMessage(m.Frame())
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v came back as %+v, %v", m, got, err)
		}
	}
	if m, err := ReadMessage([]byte{2, 4, 's', 'a', 'v', 'e', 7}); err != nil || string(m.Data) != "save" || m.ID != 7 {
		t.Errorf("save: %+v, %v", m, err)
	}
	if m, err := ReadMessage([]byte{125, 1}); err != nil || m.Kind != UnknownMessage {
		t.Errorf("a later version's message: %+v, %v", m, err)
	}
	for _, bad := range [][]byte{{}, {0}, {0, 3, 0}, {0, 0, 5, 1}, {1, 200}, {2, 1, 0xff}} {
		if m, err := ReadMessage(bad); err == nil {
			t.Errorf("%v was read as %+v", bad, m)
		}
	}
}

// FuzzApply: whatever comes, the document stays sound, and a second replica that
// reads its state is equal to it.
func FuzzApply(f *testing.F) {
	f.Add(base(2), []byte{})
	f.Add(conflicts(20), base(1))
	f.Add(nested(20), waiting(3))
	f.Add(splits(20, 10), conflicts(5))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		d := New(1 << 50)
		newCell(d.Array("cells"), 0, "id", "é😀")
		_ = d.Apply(first, nil)
		_ = d.Apply(second, nil)
		checkSound(t, d)
		editOnce(d, rand.New(rand.NewPCG(uint64(len(first)), 3)))
		checkSound(t, d)
		update, err := d.Update(nil)
		if err != nil {
			t.Fatal(err)
		}
		other := New(3)
		other.Array("cells")
		if err := other.Apply(update, nil); err != nil {
			t.Fatalf("its own state is refused: %v", err)
		}
		checkSound(t, other)
		if a, b := text(d.Array("cells").JSON()), text(other.Array("cells").JSON()); a != b {
			t.Errorf("a replica of it differs:\n%s\n%s", a, b)
		}
		if !reflect.DeepEqual(sortVector(t, d.StateVector()), sortVector(t, other.StateVector())) {
			t.Error("a replica of it knows something else")
		}
		for _, frame := range [][]byte{first, second} {
			_, _ = ReadMessage(frame)
			_, _, _ = (&Awareness{}).Apply(frame, now)
			_, _ = d.Update(frame)
		}
	})
}

func largeNotebook() []byte {
	d := New(0)
	d.Transact(nil, func() {
		for i := range 1000 {
			c := newCell(d.Array("cells"), i, fmt.Sprint("cell-", i), strings.Repeat("value = compute(1, 2)\n", 20))
			o := c.Array("outputs").InsertMap(0)
			o.Set("output_type", "stream")
			o.Set("name", "stdout")
			o.SetText("text").Insert(0, strings.Repeat("some output é\n", 50))
		}
	})
	update, _ := d.Update(nil)
	return update
}

func BenchmarkLoad(b *testing.B) {
	update := largeNotebook()
	b.SetBytes(int64(len(update)))
	b.ReportAllocs()
	for b.Loop() {
		if err := New(1).Apply(update, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSmallUpdates applies 10,000 single keystrokes to a large notebook, and
// encodes each for the others.
func BenchmarkSmallUpdates(b *testing.B) {
	update := largeNotebook()
	typist := New(9)
	if err := typist.Apply(update, nil); err != nil {
		b.Fatal(err)
	}
	var updates [][]byte
	typist.Updated = func(u []byte, _ any) { updates = append(updates, u) }
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 10_000 {
		source := typist.Array("cells").Map(i / 10 % 1000).Text("source")
		source.Insert(r.IntN(source.Len()), "x")
	}
	for b.Loop() {
		b.StopTimer()
		d := New(1)
		if err := d.Apply(update, nil); err != nil {
			b.Fatal(err)
		}
		sent := 0
		d.Updated = func(u []byte, _ any) { sent += len(u) }
		b.StartTimer()
		for _, u := range updates {
			if err := d.Apply(u, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
}
