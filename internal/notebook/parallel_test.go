package notebook

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// cellList returns a list of cells of a few MB in which the cells that odd names
// are replaced.
func cellList(odd map[int]string) []byte {
	g := rand.New(rand.NewPCG(7, 7))
	var b bytes.Buffer
	b.WriteString("[")
	for n := range 60 {
		if n > 0 {
			b.WriteString(",")
		}
		if text, ok := odd[n]; ok {
			b.WriteString(text)
			continue
		}
		b.WriteString(bigCell(g, bigKinds[n%5], n, 150_000))
	}
	b.WriteString("]")
	return b.Bytes()
}

func bothDecoders(t *testing.T, list []byte) (atOnce, inTurn *decoder) {
	t.Helper()
	atOnce, _, err := checked(list)
	if err != nil {
		t.Fatal(err)
	}
	again := *atOnce
	for _, d := range []*decoder{atOnce, &again} {
		d.warn("something about the notebook")
	}
	return atOnce, &again
}

func TestDecodeAtOnce(t *testing.T) {
	t.Parallel()
	const bare = `{"cell_type": "code", "outputs": [{"output_type": "stream"}]}`
	bareCells := map[int]string{}
	for n := range 30 {
		bareCells[n] = bare
	}
	for _, tt := range []struct {
		name string
		odd  map[int]string
	}{
		{"plain", nil},
		{"warnings", map[int]string{3: bare, 17: bare, 58: bare}},
		{"more warnings than are kept", bareCells},
		{"one cell with more warnings than are kept", map[int]string{
			9: `{"cell_type": "code", "outputs": [` + strings.Repeat(`{"output_type": "stream"},`, 70) + `{"output_type": "stream"}]}`, 30: bare,
		}},
		{"metadata", map[int]string{2: `{"cell_type": "raw", "metadata": {"a": [` + strings.Repeat("1,", 20_000) + `2]}, "source": []}`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			list := cellList(tt.odd)
			atOnce, inTurn := bothDecoders(t, list)
			var got, want Notebook
			if !atOnce.cellsAtOnce(&got, list, 3) {
				t.Fatal("did not decode at once")
			}
			if err := inTurn.cellsInTurn(&want, list); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(want, got) { // cmp.Diff takes a minute
				t.Error("other cells than in turn")
			}
			if d := cmp.Diff(inTurn.warnings, atOnce.warnings); d != "" {
				t.Errorf("other warnings (-in turn +at once):\n%s", d)
			}
			if atOnce.cost != inTurn.cost || atOnce.cell != inTurn.cell {
				t.Errorf("cost %d, cell %d: want %d, %d", atOnce.cost, atOnce.cell, inTurn.cost, inTurn.cell)
			}
		})
	}
}

// TestDecodeAtOnceGivesUp looks at what is left when a cell is bad, and at the
// message of the first of two.
func TestDecodeAtOnceGivesUp(t *testing.T) {
	t.Parallel()
	many := `{"cell_type": "raw", "metadata": {"tags": [` + strings.Repeat("{},", 700_000) + `{}]}, "source": []}`
	for _, tt := range []struct {
		name, want string
		odd        map[int]string
	}{
		{"two bad cells", `cell 6: cell_type "b": want one of code, markdown, raw (line `, map[int]string{5: `{"cell_type": "b"}`, 55: `{"cell_type": "c"}`}},
		{"the last cell", `cell 60: 7: want an object (line `, map[int]string{59: `7`}},
		{"too many parts in all", "cell 2: metadata of too many parts (line ", map[int]string{0: many, 1: many, 2: many, 3: many}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			list := cellList(tt.odd)
			d, _ := bothDecoders(t, list)
			if tt.odd[3] != "" {
				d.doc = d.doc[:len(many):cap(d.doc)] // a smaller budget
			}
			before := *d
			var nb Notebook
			if d.cellsAtOnce(&nb, list, 3) {
				t.Fatal("decoded at once what is wrong")
			}
			if nb.Cells != nil || d.cell != before.cell || d.cost != before.cost || len(d.warnings) != 1 {
				t.Errorf("giving up left cell %d, cost %d, warnings %q", d.cell, d.cost, d.warnings)
			}
			if err := d.cellsInTurn(&nb, list); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("error %v: want %s", err, tt.want)
			}
		})
	}
}

// TestDecodeAtOnceCounts gives a list of cells as much as it costs, and a little less.
func TestDecodeAtOnceCounts(t *testing.T) {
	t.Parallel()
	list := cellList(map[int]string{0: `{"cell_type": "raw", "metadata": {"tags": [` + strings.Repeat("{},", 1_200_000) + `{}]}, "source": []}`})
	atOnce, inTurn := bothDecoders(t, list)
	var nb Notebook
	if err := inTurn.cellsInTurn(&nb, list); err != nil {
		t.Fatal(err)
	}
	enough := (inTurn.cost - costBase + costPerByte - 1) / costPerByte
	for n, want := range map[int64]bool{enough: true, enough - 1: false} {
		d := *atOnce
		d.doc = d.doc[:n:cap(d.doc)]
		if got := d.cellsAtOnce(&nb, list, 3); got != want {
			t.Errorf("a cost of %d and room for %d: decoded is %v, want %v", inTurn.cost, d.mostCost(), got, want)
		}
	}
}

func decodedCells(t *testing.T, list []byte) []*Cell {
	t.Helper()
	d, _ := bothDecoders(t, list)
	var nb Notebook
	if err := d.cellsInTurn(&nb, list); err != nil {
		t.Fatal(err)
	}
	return nb.Cells
}

func TestWriteAtOnce(t *testing.T) {
	t.Parallel()
	cells := decodedCells(t, cellList(map[int]string{7: `{"cell_type": "raw", "source": "` + strings.Repeat("x\\n", 700_000) + `"}`}))
	want := writer{pretty: true, level: 2}
	want.cells(cells, 0, len(cells))
	for n := 2; n < 6; n++ {
		var out bytes.Buffer
		w := writer{w: &out, pretty: true, level: 2}
		if !w.cellsAtOnce(cells, n) || w.err != nil {
			t.Fatalf("%d goroutines: not written at once: %v", n, w.err)
		}
		if d := firstDifference(out.Bytes(), want.buf); d != "" {
			t.Errorf("%d goroutines: %s", n, d)
		}
	}
	small := writer{w: &bytes.Buffer{}, pretty: true}
	if small.cellsAtOnce(cells[:1], 2) {
		t.Error("a small notebook is written by several goroutines")
	}
}

// A fullDisk takes some bytes and then fails every write.
type fullDisk struct{ room, failed int }

var errFull = errors.New("the disk is full")

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.room -= len(p); f.room < 0 {
		f.failed++
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteAtOnceFails(t *testing.T) {
	t.Parallel()
	cells := decodedCells(t, cellList(nil))
	for _, room := range []int{0, 1000, 1 << 20} {
		disk := &fullDisk{room: room}
		err := (&Notebook{Cells: cells}).Write(disk)
		if !errors.Is(err, errFull) || err.Error() != "writing the notebook: the disk is full" || disk.failed != 1 {
			t.Errorf("after %d bytes: error %v, %d writes failed: want %v from one", room, err, disk.failed, errFull)
		}
	}
	for _, bad := range [][]int{{0}, {59}, {40, 4, 30}} {
		broken := append([]*Cell(nil), cells...)
		first := 60
		for _, i := range bad {
			first = min(first, i)
			broken[i] = &Cell{Type: Code, Metadata: Object{"x": make(chan int)}}
		}
		w := writer{w: &bytes.Buffer{}, pretty: true}
		w.cellsAtOnce(broken, 3)
		want := fmt.Sprintf("cell %d: a value of type chan int cannot be written as JSON", first+1)
		if w.err == nil || w.err.Error() != want {
			t.Errorf("bad cells %d: error %v: want %s", bad, w.err, want)
		}
	}
}

// TestWriteAtOncePanics wants a panic in the goroutine of the caller, who may
// recover from it.
func TestWriteAtOncePanics(t *testing.T) {
	t.Parallel()
	b := &batch{first: 0, end: 1, pieces: make(chan []byte, batchRoom), s: &spread{stop: make(chan struct{})}} // no cells: out of range
	go b.write()
	w := writer{w: &bytes.Buffer{}, pretty: true}
	if broken := w.collect(b); !strings.Contains(broken, "index out of range") {
		t.Errorf("a panic says %q", broken)
	}
	if w.err == nil {
		t.Error("writing goes on after a panic")
	}
}
