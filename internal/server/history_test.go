package server_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The harness starts the real binary on a real database, lets clients save and
// read while it is paused and killed, and asks a checker afterwards whether
// what they saw is what one machine that never fails could have shown them.

// saveOp is one operation on one file, for the checker.
type saveInput struct {
	read bool
	base int64
	body string // hash
}

type saveOutput struct {
	ok, conflict, unknown bool
	head                  int64 // of a read, or made by a save
}

// saveModel is a compare-and-set register per file: the number of its newest
// version.
var saveModel = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		head, in, out := state.(int64), input.(saveInput), output.(saveOutput)
		switch {
		case in.read:
			return out.head == head, head
		case out.conflict:
			return in.base != head, head
		case out.ok:
			return in.base == head && out.head > head, out.head
		}
		return true, head // it never happened
	},
	Equal: func(a, b any) bool { return a == b },
}

// A history is what the clients saw of one file.
type history struct {
	mu    sync.Mutex
	path  string
	ops   []porcupine.Operation
	acked map[string]int64 // hash of an acknowledged body -> its version
}

func (h *history) add(op porcupine.Operation) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, op)
	if out := op.Output.(saveOutput); out.ok {
		h.acked[op.Input.(saveInput).body] = out.head
	}
}

type savedModel struct {
	Version int64 `json:"version"`
}

// client saves and reads files until stop.
func (v *victim) client(ctx context.Context, id int, files func() *history, clock func() int64) {
	rng := rand.New(rand.NewPCG(uint64(id), 7))
	heads := map[string]int64{}
	for n := 0; ctx.Err() == nil; n++ {
		h := files()
		api := "/user/ann/api/contents/" + h.path
		call := clock()
		if rng.IntN(3) == 0 {
			var m savedModel
			status, ambiguous := v.call(ctx, "GET", api+"?content=0", nil, &m)
			if !ambiguous && (status == 200 || status == 404) {
				heads[h.path] = m.Version
				h.add(porcupine.Operation{ClientId: id, Input: saveInput{read: true}, Output: saveOutput{head: m.Version}, Call: call, Return: clock()})
			}
			continue
		}
		body := bodyOf(id, n)
		in := saveInput{base: heads[h.path], body: hashOf(body)}
		var m savedModel
		status, ambiguous := v.call(ctx, "PUT", api, map[string]any{
			"type": "notebook", "format": "json", "content": json.RawMessage(body), "base": in.base,
		}, &m)
		out := saveOutput{ok: status < 300, conflict: status == 409, unknown: ambiguous, head: m.Version}
		if ambiguous {
			out.ok = false
		} else if !out.ok && !out.conflict {
			v.t.Errorf("a save was answered with %d", status)
		}
		ret := clock()
		if out.ok {
			// The answer describes the file a moment after the save; the save's own
			// number is found by its body in the end.
			heads[h.path] = m.Version
			v.acked.Add(1)
		}
		h.add(porcupine.Operation{ClientId: id, Input: in, Output: out, Call: call, Return: ret})
	}
}

// bodyOf is a notebook that no other save has, as it is on the disk.
func bodyOf(client, n int) []byte {
	return fmt.Appendf(nil, "{\n \"cells\": [\n  {\n   \"cell_type\": \"markdown\",\n   \"id\": \"a\",\n   \"metadata\": {},\n   \"source\": [\n    \"%d-%d\"\n   ]\n  }\n ],\n \"metadata\": {},\n \"nbformat\": 4,\n \"nbformat_minor\": 5\n}\n", client, n)
}

func hashOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// TestSavesAndRunsSurviveKills is both histories on one server: people save
// while notebooks run, and the server and the attempts are paused and killed.
func TestSavesAndRunsSurviveKills(t *testing.T) {
	const freeAfter, mostHurt = time.Second, 5 * time.Minute
	v := newVictimIn(t, "", fmt.Sprint("freeAfter: ", freeAfter))
	v.start()
	v.addRunNotebooks()
	begin := time.Now()
	clock := func() int64 { return int64(time.Since(begin)) }
	// New files every few rounds: what stays open in a history makes checking
	// grow without bound.
	var all []*history
	var current atomic.Pointer[[3]*history]
	renew := func() {
		var three [3]*history
		for i := range three {
			three[i] = &history{path: fmt.Sprintf("f%06d.ipynb", len(all)), acked: map[string]int64{}}
			all = append(all, three[i])
		}
		current.Store(&three)
	}
	renew()
	ctx, stop := context.WithCancel(context.Background())
	var clients sync.WaitGroup
	for id := range 4 {
		clients.Go(func() {
			n := 0
			v.client(ctx, id, func() *history { n++; return current.Load()[n%3] }, clock)
		})
	}
	book := &runBook{}
	for id := range 2 {
		clients.Go(func() { v.runner(ctx, id, book) })
	}
	bin := &binBook{}
	clients.Go(func() { v.deleter(ctx, bin) })
	var churned []churnFile
	clients.Go(func() { churned = v.churner(ctx, freeAfter) })
	clients.Go(func() { v.prowl(ctx) })
	rng := rand.New(rand.NewPCG(1, 2))
	// A busy machine takes seconds for a round: then fewer do, unless asked for.
	done := 0
	for ; done < rounds(t) && (os.Getenv("QUIRE_TEST_ROUNDS") != "" || time.Since(begin) < mostHurt); done++ {
		v.hurt(rng)
		v.watchOutputs(book)
		renew()
		v.keepUp(int64(done))
	}
	stop()
	clients.Wait()
	v.settle(book, 3*time.Minute)
	v.watchOutputs(book)
	saves := 0
	for _, h := range all {
		saves += v.judge(h)
	}
	for _, f := range churned {
		v.judgeChurn(t.Context(), f)
	}
	states, deleted := v.judgeRuns(book), v.judgeBin(bin)
	if v.sweeps() == 0 && done >= 300 {
		t.Error("nothing was freed: the harness tests nothing")
	}
	t.Logf("%d rounds, %d acknowledged saves, %d files deleted, bytes freed %d times, %d submissions, ended runs %v", done, saves, deleted, v.sweeps(), len(book.all), states)
	if saves < done || states["succeeded"] < done/50 {
		t.Errorf("only %d saves were acknowledged and %d runs succeeded: the harness tests nothing", saves, states["succeeded"])
	}
}

// keepUp waits, on a machine that is so slow that a server is killed before it has
// done anything, until as many saves were acknowledged.
func (v *victim) keepUp(saves int64) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(time.Minute); v.acked.Load() <= saves && time.Now().Before(limit); <-tick.C {
	}
}

// prowl reads the files on the disk again and again, as a kernel or git would:
// what is there is whole at every moment.
func (v *victim) prowl(ctx context.Context) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		names, _ := filepath.Glob(filepath.Join(v.data, "files/users/ann/*.ipynb"))
		for _, name := range names[max(0, len(names)-6):] {
			data, err := os.ReadFile(name)
			if err == nil && !json.Valid(data) {
				v.t.Errorf("%s on the disk holds %d bytes that are no notebook", filepath.Base(name), len(data))
				return
			}
		}
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
}

// judge asks whether what was seen of a file is right, and returns how many
// saves of it were acknowledged.
func (v *victim) judge(h *history) int {
	v.t.Helper()
	kept, head := v.versions(h.path)
	for i := range h.ops {
		in, out := h.ops[i].Input.(saveInput), h.ops[i].Output.(saveOutput)
		if in.read || out.conflict {
			continue
		}
		number, there := kept[in.body]
		switch {
		case out.ok && !there:
			v.t.Errorf("%s: an acknowledged save is lost", h.path)
		case out.ok:
			out.head = number
		case there:
			out.ok, out.unknown, out.head = true, false, number
			if v.faulty {
				// A commit whose sync failed can come back when the server is started
				// again, long after its answer.
				h.ops[i].Return = math.MaxInt64
			}
		}
		h.ops[i].Output = out
	}
	result, _ := porcupine.CheckOperationsVerbose(saveModel, h.ops, 2*time.Minute)
	if result != porcupine.Ok {
		v.t.Errorf("%s: what the clients saw of %d operations is %s", h.path, len(h.ops), result)
	}
	v.judgeBodies(h, kept)
	if head != "" {
		data, err := os.ReadFile(filepath.Join(v.data, "files/users/ann", h.path))
		if err != nil || hashOf(data) != head {
			v.t.Errorf("%s: the file is not its newest version (%d bytes, %v)", h.path, len(data), err)
		}
	}
	return len(h.acked)
}

// judgeBodies asks for the bytes of the oldest acknowledged save and of one
// more: a version is good for nothing without them.
func (v *victim) judgeBodies(h *history, kept map[string]int64) {
	v.t.Helper()
	left := 3
	for body := range h.acked {
		var data []byte
		status, _ := v.call(v.t.Context(), "GET", fmt.Sprintf("/api/versions/users/ann/%s?number=%d", h.path, kept[body]), nil, &data)
		if status != 200 || hashOf(data) != body {
			v.t.Errorf("%s: version %d is answered with %d and %d bytes that are not it", h.path, kept[body], status, len(data))
		}
		if left--; left == 0 {
			return
		}
	}
}

// versions returns the number of each kept body that became a newest version,
// and the hash of the newest.
func (v *victim) versions(path string) (map[string]int64, string) {
	v.t.Helper()
	kept, head, cursor := map[string]int64{}, "", ""
	for {
		var page struct {
			Versions []struct {
				Number int64
				Hash   string
				Cause  string
			}
			Next string
		}
		status, ambiguous := v.call(context.Background(), "GET", "/api/versions/users/ann/"+path+"?cursor="+cursor, nil, &page)
		if status == 404 {
			return kept, ""
		}
		if ambiguous || status != 200 {
			v.t.Fatalf("listing the versions of %s: %d", path, status)
		}
		for _, one := range page.Versions {
			if one.Cause == "refused" {
				continue
			}
			if one.Cause == "outside" || one.Cause == "overwritten" {
				v.t.Errorf("%s: version %d came from outside (%s), where nobody wrote", path, one.Number, one.Cause)
			}
			if head == "" {
				head = one.Hash
			}
			kept[one.Hash] = one.Number
		}
		if cursor = page.Next; cursor == "" {
			return kept, head
		}
	}
}

// TestCheckerSeesALostUpdate shows that the checker can say no.
func TestCheckerSeesALostUpdate(t *testing.T) {
	t.Parallel()
	lost := []porcupine.Operation{
		{ClientId: 0, Input: saveInput{base: 0}, Output: saveOutput{ok: true, head: 1}, Call: 0, Return: 1},
		{ClientId: 1, Input: saveInput{base: 1}, Output: saveOutput{ok: true, head: 2}, Call: 2, Return: 5},
		{ClientId: 2, Input: saveInput{base: 1}, Output: saveOutput{ok: true, head: 3}, Call: 3, Return: 6},
	}
	if result, _ := porcupine.CheckOperationsVerbose(saveModel, lost, time.Second); result == porcupine.Ok {
		t.Error("two saves on one version were taken for right")
	}
	stale := []porcupine.Operation{
		{ClientId: 0, Input: saveInput{base: 0}, Output: saveOutput{ok: true, head: 1}, Call: 0, Return: 1},
		{ClientId: 1, Input: saveInput{read: true}, Output: saveOutput{head: 0}, Call: 2, Return: 3},
	}
	if result, _ := porcupine.CheckOperationsVerbose(saveModel, stale, time.Second); result == porcupine.Ok {
		t.Error("a read of what was before an acknowledged save was taken for right")
	}
}
