package ydoc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// peer is a Node process with replicas in real yjs and @jupyter/ydoc; see
// tools/ydoc/replicas.mjs.
type peer struct {
	in  io.WriteCloser
	out *bufio.Reader
}

// startPeer starts Node. QUIRE_TEST_YDOC names the directory that tools/ydoc is
// installed in; without it the short tests leave the comparison out.
func startPeer(t *testing.T) *peer {
	t.Helper()
	dir := os.Getenv("QUIRE_TEST_YDOC")
	if dir == "" {
		if testing.Short() {
			t.Skip("QUIRE_TEST_YDOC is not set: no yjs to compare with")
		}
		t.Fatal("QUIRE_TEST_YDOC is not set: no yjs to compare with (make test sets it)")
	}
	script, err := filepath.Abs("../../../tools/ydoc/replicas.mjs")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "node", script, dir)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // killed by the test's context, or ended by itself
	})
	return &peer{in: in, out: bufio.NewReaderSize(out, 1<<20)}
}

type command map[string]any

// ask sends commands and returns the answers.
func (p *peer) ask(t *testing.T, commands ...command) []json.RawMessage {
	t.Helper()
	line, err := json.Marshal(commands)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	answer, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("Node: %v", err)
	}
	var got struct {
		Answers []json.RawMessage
		Error   string
	}
	if err := json.Unmarshal(answer, &got); err != nil {
		t.Fatal(err)
	}
	if got.Error != "" {
		t.Fatalf("Node: %s", got.Error)
	}
	return got.Answers
}

func decode[T any](t *testing.T, raw json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// newReplica returns a Go replica that hands its own updates to made.
func newReplica(client uint64, made *[][]byte) *Doc {
	d := New(client)
	d.Map("meta")
	d.Array("cells")
	d.Updated = func(update []byte, origin any) {
		if origin != "remote" {
			*made = append(*made, update)
		}
	}
	d.Changed = func(e Event) { // walks what changed, so that the events are exercised
		for _, c := range e.Changes() {
			_, _, _ = c.Path(), c.Keys(), c.Delta()
		}
	}
	return d
}

func newCell(cells *Array, at int, id, source string) (c *Map) {
	cells.doc.Transact(nil, func() {
		c = cells.InsertMap(at)
		c.SetText("source").Insert(0, source)
		c.SetMap("metadata")
		c.Set("cell_type", "code")
		c.Set("id", id)
		c.SetArray("outputs")
		c.Set("execution_count", nil)
	})
	return c
}

// base is the notebook that each round begins with, as a room builds it.
func base(cells int) []byte {
	d := New(0)
	d.Transact(nil, func() {
		meta := d.Map("meta")
		meta.Set("nbformat", 4)
		meta.Set("nbformat_minor", 5)
		meta.SetMap("metadata").Set("kernelspec", map[string]any{"name": "python3"})
		for i := range cells {
			newCell(d.Array("cells"), i, fmt.Sprint("c", i), fmt.Sprint("x = ", i, " 😀\n"))
		}
	})
	update, err := d.Update(nil)
	if err != nil {
		panic(err)
	}
	return update
}

var words = []string{"a", "b", "\n", "é", "中", "😀", "𝒳", "x = 1", "", "print('hello')"}

var plainValues = []any{
	nil, true, 0, -1, 1.5, float64(1 << 40), "text",
	[]any{1, []any{2}},
	map[string]any{"a": map[string]any{"b": 1}},
	"😀", 1e300, -0.25,
}

func word(r *rand.Rand) string {
	var b strings.Builder
	for range 1 + r.IntN(4) {
		b.WriteString(words[r.IntN(len(words))])
	}
	return b.String()
}

// editOnce makes one random edit.
func editOnce(d *Doc, r *rand.Rand) {
	cells := d.Array("cells")
	if cells.Len() == 0 {
		newCell(cells, 0, fmt.Sprint("g", r.IntN(1e6)), word(r))
		return
	}
	at := r.IntN(cells.Len())
	c := cells.Map(at)
	source, outputs, metadata := c.Text("source"), c.Array("outputs"), c.Map("metadata")
	switch r.IntN(12) {
	case 0, 1:
		source.Insert(r.IntN(source.Len()+1), word(r))
	case 2:
		newCell(cells, r.IntN(cells.Len()+1), fmt.Sprint("g", r.IntN(1e6)), word(r))
	case 3:
		cells.Delete(at, min(1+r.IntN(2), cells.Len()-at))
	case 4:
		d.Transact(nil, func() {
			id, text := c.String("id"), source.String()
			cells.Delete(at, 1)
			newCell(cells, r.IntN(cells.Len()+1), id, text)
		})
	case 5:
		if outputs != nil {
			d.Transact(nil, func() {
				o := outputs.InsertMap(outputs.Len())
				o.Set("output_type", "stream")
				o.Set("name", "stdout")
				o.SetText("text").Insert(0, word(r)+".")
			})
		}
	case 6:
		if outputs != nil && outputs.Len() > 0 {
			if text := outputs.Map(outputs.Len() - 1).Text("text"); text != nil {
				text.Append(word(r))
			}
		}
	case 7:
		if outputs != nil {
			outputs.Delete(0, outputs.Len())
		}
	case 8:
		metadata.Set(fmt.Sprint("k", r.IntN(3)), plainValues[1+r.IntN(len(plainValues)-1)])
	case 9:
		metadata.Delete(fmt.Sprint("k", r.IntN(3)))
	case 10:
		if n := source.Len(); n > 0 {
			from := r.IntN(n)
			source.Delete(from, min(1+r.IntN(4), n-from))
		}
	case 11:
		source.Replace(word(r) + source.String())
	}
}

// rounds is how many documents the replicas edit: QUIRE_TEST_ROUNDS, else 80.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("QUIRE_TEST_ROUNDS")
	if text == "" {
		return 80
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("QUIRE_TEST_ROUNDS=%s: want a number of rounds", text)
	}
	return n
}

// TestConvergesWithYjs lets replicas here, in yjs and in JupyterLab's own model
// of a notebook edit at once, hands each the others' updates in any order, some
// late and some twice, and wants one document in the end.
func TestConvergesWithYjs(t *testing.T) {
	p := startPeer(t)
	same, rounds := 0, rounds(t)
	for round := range rounds {
		if convergeOnce(t, p, uint64(round)) {
			same++
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	t.Logf("%d rounds; in %d of them the bytes of the replicas' own states were those of yjs without reading them again", rounds, same)
}

func convergeOnce(t *testing.T, p *peer, seed uint64) (sameBytes bool) {
	r := rand.New(rand.NewPCG(seed, 1))
	const goReplicas, jsReplicas = 2, 3 // the last one is a YNotebook
	ids := r.Perm(1 << 20)
	made := make([][]byte, 0, 64)
	docs := make([]*Doc, goReplicas)
	start := base(1 + r.IntN(4))
	for i := range docs {
		docs[i] = newReplica(uint64(ids[i])+1, &made)
		if err := docs[i].Apply(start, "remote"); err != nil {
			t.Fatal(err)
		}
	}
	jsIDs := []int{ids[2] + 1, ids[3] + 1, ids[4] + 1}
	commands := []command{{"op": "new", "ids": jsIDs, "notebooks": []bool{false, false, true}}}
	for i := range jsReplicas {
		commands = append(commands, command{"op": "apply", "replica": i, "updates": [][]byte{start}})
	}
	p.ask(t, commands...)

	type parcel struct{ update []byte }
	boxes := make([][]parcel, goReplicas+jsReplicas) // what each has not got yet
	send := func(from int, updates [][]byte) {
		for to := range boxes {
			if to != from {
				for _, u := range updates {
					boxes[to] = append(boxes[to], parcel{u})
				}
			}
		}
	}
	deliver := func(all bool) {
		var batch []command
		for to, box := range boxes {
			r.Shuffle(len(box), func(i, j int) { box[i], box[j] = box[j], box[i] })
			n := len(box)
			if !all && n > 0 {
				n = r.IntN(n + 1)
			}
			var updates [][]byte
			for _, parcel := range box[:n] {
				updates = append(updates, parcel.update)
				if r.IntN(8) == 0 {
					updates = append(updates, parcel.update)
				}
			}
			boxes[to] = slices.Clone(box[n:])
			if to >= goReplicas {
				batch = append(batch, command{"op": "apply", "replica": to - goReplicas, "updates": updates})
				continue
			}
			for _, u := range updates {
				if err := docs[to].Apply(u, "remote"); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.ask(t, batch...)
	}
	for range 2 + r.IntN(3) {
		var batch []command
		for i := range jsReplicas {
			batch = append(batch, command{"op": "edit", "replica": i, "seed": r.Uint32(), "edits": 1 + r.IntN(6)})
		}
		for i, answer := range p.ask(t, batch...) {
			send(goReplicas+i, decode[[][]byte](t, answer))
		}
		for i, d := range docs {
			made = made[:0]
			for range 1 + r.IntN(6) {
				editOnce(d, r)
			}
			send(i, slices.Clone(made))
		}
		deliver(false)
	}
	deliver(true)
	return compareAll(t, p, docs, jsReplicas)
}

type state struct {
	JSON   map[string]any
	Model  []string
	Update []byte
	Vector []byte
}

// compareAll wants all replicas equal: as JSON, as what they know, and, read once
// more into an empty document, byte for byte.
func compareAll(t *testing.T, p *peer, docs []*Doc, jsReplicas int) (sameBytes bool) {
	t.Helper()
	var batch []command
	for i := range jsReplicas {
		batch = append(batch, command{"op": "state", "replica": i})
	}
	var states []state
	for _, answer := range p.ask(t, batch...) {
		states = append(states, decode[state](t, answer))
	}
	want := states[0]
	for i, s := range states {
		if !reflect.DeepEqual(s.JSON, want.JSON) {
			t.Fatalf("yjs replicas 0 and %d differ: the test is wrong", i)
		}
	}
	again := p.ask(t, command{"op": "again", "update": want.Update})
	canonical := decode[[]byte](t, again[0])
	for i, d := range docs {
		if d.Pending() {
			t.Errorf("replica %d still waits for something", i)
		}
		got := map[string]any{"cells": normal(t, d.Array("cells").JSON()), "meta": normal(t, d.Map("meta").JSON())}
		if !reflect.DeepEqual(got, want.JSON) {
			t.Errorf("replica %d:\n got %s\nwant %s", i, text(got), text(want.JSON))
		}
		if got, want := sortVector(t, d.StateVector()), sortVector(t, want.Vector); !reflect.DeepEqual(got, want) {
			t.Errorf("replica %d knows %v, yjs %v", i, got, want)
		}
		update, err := d.Update(nil)
		if err != nil {
			t.Fatal(err)
		}
		sameBytes = sameBytes || bytes.Equal(update, want.Update)
		fresh := newReplica(99, &[][]byte{})
		if err := fresh.Apply(update, "remote"); err != nil {
			t.Fatal(err)
		}
		reread, err := fresh.Update(nil)
		if err != nil {
			t.Fatal(err)
		}
		if js := decode[[]byte](t, p.ask(t, command{"op": "again", "update": update})[0]); !bytes.Equal(reread, js) {
			t.Errorf("replica %d: one state, read and written by yjs and by us, differs in bytes: %d and %d", i, len(js), len(reread))
		}
		if !bytes.Equal(reread, canonical) {
			t.Errorf("replica %d: the state in bytes is not that of yjs: %d bytes and %d", i, len(reread), len(canonical))
		}
		checkSound(t, d)
	}
	return sameBytes
}

// checkSound holds a document against what must always be true of it.
func checkSound(t *testing.T, d *Doc) {
	t.Helper()
	count := 0
	for client, s := range d.clients {
		next := uint64(0)
		for p := s.first(); s.valid(p); p = s.next(p) {
			x := s.at(p)
			count++
			if x.id.Clock != next || x.id.Client != client || x.len == 0 {
				t.Fatalf("client %d: a struct at %v with length %d, want clock %d", client, x.id, x.len, next)
			}
			next += x.len
		}
	}
	if count != d.count {
		t.Fatalf("%d structs are held, %d counted", count, d.count)
	}
	for _, n := range d.roots {
		soundNode(t, n)
	}
}

func soundNode(t *testing.T, n *node) {
	t.Helper()
	var visible uint64
	var before *item
	for x := n.start; x != nil; before, x = x, x.right {
		if x.left != before || x.parent != n || x.hasSub || x.kind == contentGC {
			t.Fatalf("the list of %v is broken at %v", n.path(), x.id)
		}
		if x.visible() {
			visible += x.len
		}
		if x.node != nil && !x.deleted {
			soundNode(t, x.node)
		}
	}
	if visible != n.len {
		t.Fatalf("%v has %d elements and says %d", n.path(), visible, n.len)
	}
	for key, x := range n.entries {
		if x.right != nil || x.sub != key || x.parent != n {
			t.Fatalf("key %q of %v is broken", key, n.path())
		}
		if x.node != nil && !x.deleted {
			soundNode(t, x.node)
		}
	}
}

func normal(t *testing.T, v any) any {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return decode[any](t, raw)
}

func text(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

func sortVector(t *testing.T, vector []byte) map[uint64]uint64 {
	t.Helper()
	known := map[uint64]uint64{}
	r := &reader{b: vector}
	for n := r.uint(); n > 0; n-- {
		client := r.uint()
		known[client] = r.uint()
	}
	if err := r.end("state vector"); err != nil {
		t.Fatal(err)
	}
	return known
}

// TestSameBytesAsYjs gives one replica here and one in yjs the same edits and
// updates in the same order: they must encode to the same bytes without being
// read again.
func TestSameBytesAsYjs(t *testing.T) {
	p := startPeer(t)
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 2))
		start := base(3)
		mirror := newReplica(77, &[][]byte{})
		if err := mirror.Apply(start, "remote"); err != nil {
			t.Fatal(err)
		}
		p.ask(t, command{"op": "new", "ids": []int{5, 6, 7}}, command{"op": "apply", "replica": 0, "updates": [][]byte{start}},
			command{"op": "apply", "replica": 1, "updates": [][]byte{start}}, command{"op": "apply", "replica": 2, "updates": [][]byte{start}})
		for range 12 {
			from := r.IntN(2)
			answer := p.ask(t, command{"op": "edit", "replica": from, "seed": r.Uint32(), "edits": 1 + r.IntN(4)})
			updates := decode[[][]byte](t, answer[0])
			p.ask(t, command{"op": "apply", "replica": 1 - from, "updates": updates}, command{"op": "apply", "replica": 2, "updates": updates})
			for _, u := range updates {
				if err := mirror.Apply(u, "remote"); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := decode[state](t, p.ask(t, command{"op": "state", "replica": 2})[0])
		got, err := mirror.Update(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Update) {
			t.Fatalf("seed %d: %d bytes here, %d in yjs", seed, len(got), len(want.Update))
		}
		vector := mirror.StateVector()
		for i := range 2 { // what one side lacks, as the other one says it
			js := decode[[]byte](t, p.ask(t, command{"op": "diff", "replica": i, "vector": vector})[0])
			ours, err := mirror.Update(decode[state](t, p.ask(t, command{"op": "state", "replica": i})[0]).Vector)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(js, ours) {
				t.Fatalf("seed %d: the difference for replica %d has other bytes", seed, i)
			}
		}
	}
}

// TestNotebookModelReads builds a notebook here and reads it with JupyterLab's model.
func TestNotebookModelReads(t *testing.T) {
	p := startPeer(t)
	got := decode[map[string]any](t, p.ask(t, command{"op": "notebook", "update": base(2)})[0])
	cells, _ := got["cells"].([]any)
	if len(cells) != 2 || got["nbformat"] != 4.0 {
		t.Fatalf("got %s", text(got))
	}
	first, _ := cells[0].(map[string]any)
	if first["source"] != "x = 0 😀\n" || first["id"] != "c0" || first["cell_type"] != "code" {
		t.Errorf("the first cell is %s", text(first))
	}
}

// TestAwarenessWithYProtocols exchanges presence with y-protocols.
func TestAwarenessWithYProtocols(t *testing.T) {
	p := startPeer(t)
	answer := p.ask(t, command{"op": "awareness", "client": 42, "state": map[string]any{"user": map[string]any{"name": "Ann 😀"}}})
	var a Awareness
	update := decode[[]byte](t, answer[0])
	changed, present, err := a.Apply(update, now)
	if err != nil || !slices.Equal(changed, []uint64{42}) || !slices.Equal(present, []uint64{42}) {
		t.Fatalf("changed %v, present %v, %v", changed, present, err)
	}
	if got := a.Encode([]uint64{42}); !bytes.Equal(got, update) {
		t.Errorf("encoded %q, y-protocols %q", got, update)
	}
	joined := a.Encode([]uint64{42})
	states := decode[map[string]any](t, p.ask(t, command{"op": "awarenessStates", "updates": [][]byte{joined, a.encodeLeft(42)}})[0])
	if len(states) != 0 {
		t.Errorf("after leaving, y-protocols still has %v", slices.Collect(maps.Keys(states)))
	}
}

func (a *Awareness) encodeLeft(client uint64) []byte { return a.Encode(a.Remove([]uint64{client})) }
