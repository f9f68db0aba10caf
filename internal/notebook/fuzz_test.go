package notebook

import (
	"bytes"
	"math/rand/v2"
	"testing"
)

// FuzzRead: no input panics, what is read can be written, what was written is
// read and written again to the same bytes, and memory stays in proportion.
func FuzzRead(f *testing.F) {
	for _, doc := range corpus(f) {
		if len(doc) < 8000 {
			f.Add([]byte(doc))
		}
	}
	for seed := range 20 {
		f.Add([]byte(generator{rand.New(rand.NewPCG(7, uint64(seed)))}.notebook()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var nb *Notebook
		var err error
		if used := allocated(func() { nb, err = Parse(data) }); used > uint64(len(data))*200+1<<20 {
			t.Errorf("reading %d bytes allocated %d", len(data), used)
		}
		if err != nil {
			return
		}
		first, err := nb.Bytes()
		if err != nil {
			t.Fatalf("writing what was read: %v", err)
		}
		valid := nb.Validate() == nil
		nb, err = Parse(first)
		if err != nil {
			t.Fatalf("reading what was written: %v\n%s", err, first)
		}
		if valid && len(nb.Warnings) > 0 {
			t.Errorf("a valid notebook has warnings when it is read again: %q", nb.Warnings)
		}
		second, err := nb.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		if d := firstDifference(second, first); d != "" {
			t.Error(d)
		}
		clone, err := nb.Clone().Bytes()
		if err != nil || !bytes.Equal(clone, second) {
			t.Errorf("the clone is written differently: %v", err)
		}
		nb.Upgrade(counter())
		if _, err := nb.Bytes(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzCellCodec: what is read of a cell is marshalled to one line that is read
// and marshalled to the same line.
func FuzzCellCodec(f *testing.F) {
	for seed := range 20 {
		g := generator{rand.New(rand.NewPCG(8, uint64(seed)))}
		f.Add([]byte(g.cell(5, seed)))
		f.Add([]byte(g.output()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := UnmarshalCell(data); err == nil {
			line, err := MarshalCell(c)
			if err != nil {
				t.Fatal(err)
			}
			back, err := UnmarshalCell(line)
			if err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			again, err := MarshalCell(back)
			if err != nil || !bytes.Equal(line, again) || bytes.ContainsAny(line, "\n\r") {
				t.Errorf("%v\n%s\n%s", err, line, again)
			}
		}
		for _, kind := range []string{"stream", "display_data", "execute_result", "error"} {
			o, err := NewOutput(kind, data)
			if err != nil {
				continue
			}
			line, err := MarshalOutput(o)
			if err != nil {
				t.Fatal(err)
			}
			back, err := UnmarshalOutput(line)
			if err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if again, err := MarshalOutput(back); err != nil || !bytes.Equal(line, again) {
				t.Errorf("%v\n%s\n%s", err, line, again)
			}
		}
	})
}
