package storagetest

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"testing"

	"quire/internal/problem"
	"quire/internal/storage"
)

const writers = 16

// testCreateRace lets many create one path at once: one wins, and its bytes stay.
func testCreateRace(t *testing.T, f *fixture) {
	for round := range 4 {
		path := fmt.Sprintf("race/%d", round)
		errs := make([]error, writers)
		start := make(chan struct{})
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() {
				<-start
				// Without a known length, so that the driver cannot take a short cut.
				src := io.MultiReader(strings.NewReader(strconv.Itoa(i)))
				_, errs[i] = f.Put(f.ctx, path, src, storage.PutOptions{IfNotExist: true})
			})
		}
		close(start)
		wg.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				t.Fatalf("round %d: both %d and %d created it", round, winner, i)
			case err == nil:
				winner = i
			default:
				f.want(t, err, problem.Exists, path)
			}
		}
		if winner < 0 {
			t.Fatalf("round %d: nobody created it: %v", round, errs[0])
		}
		if got := f.get(t, path); got != strconv.Itoa(winner) {
			t.Errorf("round %d: it holds %q, the winner wrote %d", round, got, winner)
		}
	}
}

// testLargeCreateRace is testCreateRace with files that are sent in parts, where
// every writer has begun before one has ended: an early look cannot decide it.
func testLargeCreateRace(t *testing.T, f *fixture) {
	const racers = 4
	var begun sync.WaitGroup
	begun.Add(racers)
	errs := make([]error, racers)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			body := bytes.Repeat([]byte{byte('a' + i)}, f.LargeBytes/2)
			src := io.MultiReader(bytes.NewReader(body), &barrier{all: &begun}, strings.NewReader("end"))
			_, errs[i] = f.Put(f.ctx, "large", src, storage.PutOptions{IfNotExist: true})
		})
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			t.Fatalf("both %d and %d created it", winner, i)
		case err == nil:
			winner = i
		default:
			f.want(t, err, problem.Exists, "large")
		}
	}
	if winner < 0 {
		t.Fatalf("nobody created it: %v", errs[0])
	}
	if got := f.get(t, "large"); len(got) != f.LargeBytes/2+3 || got[0] != byte('a'+winner) {
		t.Errorf("it holds %d bytes of %c, the winner was %d", len(got), got[0], winner)
	}
}

// barrier is an empty reader that ends when all have come to theirs.
type barrier struct {
	all  *sync.WaitGroup
	once sync.Once
}

func (b *barrier) Read([]byte) (int, error) {
	b.once.Do(b.all.Done)
	b.all.Wait()
	return 0, io.EOF
}

// testMatchRace counts up with compare-and-set: no count may be lost.
func testMatchRace(t *testing.T, f *fixture) {
	const each = 5
	f.put(t, "n", "0")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for done := 0; done < each; {
				ok, err := countUp(f)
				if err != nil {
					t.Error(err)
					return
				}
				if ok {
					done++
				}
			}
		})
	}
	wg.Wait()
	if got := f.get(t, "n"); got != strconv.Itoa(4*each) {
		t.Errorf("counted to %s, want %d", got, 4*each)
	}
}

func countUp(f *fixture) (bool, error) {
	data, info, err := storage.ReadAll(f.ctx, f.Store, "n", 100)
	if err != nil {
		return false, err
	}
	n, err := strconv.Atoi(string(data))
	if err != nil {
		return false, err
	}
	next := []byte(strconv.Itoa(n + 1))
	_, err = storage.PutBytes(f.ctx, f.Store, "n", next, storage.PutOptions{IfMatch: info.ETag})
	if problem.Is(err, problem.Conflict) {
		return false, nil
	}
	return err == nil, err
}

// testWritersAndReaders has writers replace a file while readers check that each
// read is one whole Put: n bytes that are all the same.
func testWritersAndReaders(t *testing.T, f *fixture) {
	body := func(i int) []byte { return bytes.Repeat([]byte{byte('a' + i)}, 50_000+i) }
	if _, err := storage.PutBytes(f.ctx, f.Store, "w", body(0), storage.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers, puts sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				got, info, err := storage.ReadAll(f.ctx, f.Store, "w", 0)
				if err != nil {
					t.Errorf("reading: %v", err)
					return
				}
				if len(got) == 0 || !bytes.Equal(got, body(int(got[0]-'a'))) || info.Size != int64(len(got)) {
					t.Errorf("torn: %d bytes, size %d", len(got), info.Size)
					return
				}
			}
		})
	}
	for i := range 4 {
		puts.Go(func() {
			for range 8 {
				if _, err := storage.PutBytes(f.ctx, f.Store, "w", body(i), storage.PutOptions{}); err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		})
	}
	puts.Wait()
	close(stop)
	readers.Wait()
}
