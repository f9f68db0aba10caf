package notebook

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

var benchMB = flag.Int("mb", 20, "size in MB of the benchmarks' notebooks")

// Kinds of big notebooks.
const (
	bigMixed  = "mixed"  // cells, prints, pictures and plots, as people have them
	bigLines  = "lines"  // cells that print 1,000 lines each
	bigImage  = "image"  // one picture
	bigFloats = "floats" // one plot of random numbers
	bigCells  = "cells"  // small cells
)

var bigKinds = []string{bigMixed, bigLines, bigImage, bigFloats, bigCells}

// writeBig writes a notebook of about size bytes, as nbformat would.
func writeBig(w io.Writer, kind string, size int) {
	b := bufio.NewWriterSize(w, 1<<20)
	defer b.Flush()
	g := rand.New(rand.NewPCG(5, 5))
	fmt.Fprintf(b, "{\n \"cells\": [")
	for written, n := 0, 0; written < size; n++ {
		cell := bigCell(g, kind, n, size)
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteString(cell)
		written += len(cell)
	}
	b.WriteString("\n ],\n \"metadata\": {},\n \"nbformat\": 4,\n \"nbformat_minor\": 5\n}\n")
}

func bigCell(g *rand.Rand, kind string, n, size int) string {
	output := ""
	one := kind
	if kind == bigMixed {
		one = bigKinds[1+n%4]
		size = 200_000
	}
	switch one {
	case bigLines:
		output = bigPrint(g)
	case bigImage:
		output = bigPicture(g, size)
	case bigFloats:
		output = bigPlot(g, size)
	}
	return fmt.Sprintf("\n  {\n   \"cell_type\": \"code\",\n   \"execution_count\": %d,\n   \"id\": \"cell-%d\",\n"+
		"   \"metadata\": {},\n   \"outputs\": [%s],\n   \"source\": [\n    \"x = %d\\n\",\n    \"print(x)\"\n   ]\n  }", n+1, n, output, n)
}

func bigPrint(g *rand.Rand) string {
	var b strings.Builder
	b.WriteString("\n    {\n     \"name\": \"stdout\",\n     \"output_type\": \"stream\",\n     \"text\": [\n")
	for i := range 1000 {
		if i > 0 {
			b.WriteString(",\n")
		}
		fmt.Fprintf(&b, "      \"step %d of the work: loss=%d, \\\"ok\\\" – weiter\\n\"", i, g.IntN(1e9))
	}
	b.WriteString("\n     ]\n    }\n   ")
	return b.String()
}

func bigPicture(g *rand.Rand, size int) string {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var b strings.Builder
	b.Grow(size + 400)
	b.WriteString("\n    {\n     \"data\": {\n      \"image/png\": \"")
	for b.Len() < size {
		b.WriteByte(digits[g.IntN(64)])
	}
	b.WriteString("\\n\",\n      \"text/plain\": [\n       \"<Figure>\"\n      ]\n     },\n     \"metadata\": {},\n" +
		"     \"output_type\": \"display_data\"\n    }\n   ")
	return b.String()
}

func bigPlot(g *rand.Rand, size int) string {
	var b strings.Builder
	b.Grow(size + 400)
	b.WriteString("\n    {\n     \"data\": {\n      \"application/vnd.plotly.v1+json\": {\n       \"x\": [")
	for first := true; b.Len() < size; first = false {
		if !first {
			b.WriteByte(',')
		}
		b.WriteString("\n        " + strconv.FormatFloat(g.NormFloat64(), 'g', -1, 64))
	}
	b.WriteString("\n       ]\n      }\n     },\n     \"metadata\": {},\n     \"output_type\": \"display_data\"\n    }\n   ")
	return b.String()
}

func bigNotebook(kind string, size int) []byte {
	var b bytes.Buffer
	b.Grow(size + size/8)
	writeBig(&b, kind, size)
	return b.Bytes()
}

func BenchmarkReadWrite(b *testing.B) {
	for _, kind := range bigKinds {
		b.Run(kind, func(b *testing.B) {
			data := bigNotebook(kind, *benchMB<<20)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				nb, err := Parse(data)
				if err != nil {
					b.Fatal(err)
				}
				if err := nb.Validate(); err != nil {
					b.Fatal(err)
				}
				if err := nb.Write(io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkRead(b *testing.B) {
	data := bigNotebook(bigMixed, *benchMB<<20)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(data); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCellCodec(b *testing.B) {
	c := NewCode("print(1)")
	c.Outputs = []*Output{{Type: Stream, Name: "stdout", Text: strings.Repeat("a line of output\n", 100)}}
	b.ReportAllocs()
	for b.Loop() {
		line, err := MarshalCell(c)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := UnmarshalCell(line); err != nil {
			b.Fatal(err)
		}
	}
}

// TestAllocatedBytes bounds what reading and writing allocate in all, so that a
// second copy of the document shows.
func TestAllocatedBytes(t *testing.T) {
	const buffers = 2 << 20 // bytes, whatever the size
	for _, tt := range []struct {
		kind        string
		read, write float64 // times the document's size
	}{
		{bigMixed, 1.1, 0.05},
		{bigLines, 1.1, 0.05},
		{bigImage, 1.1, 0.05},
		{bigFloats, 1.1, 0.05},
		{bigCells, 2, 0.05},
	} {
		t.Run(tt.kind, func(t *testing.T) {
			size := 20 << 20
			if raceEnabled {
				size = 4 << 20
			}
			data := bigNotebook(tt.kind, size)
			var nb *Notebook
			read := allocated(func() {
				var err error
				if nb, err = Parse(data); err != nil {
					t.Fatal(err)
				}
			})
			write := allocated(func() {
				if err := nb.Write(io.Discard); err != nil {
					t.Fatal(err)
				}
			})
			whole := float64(len(data))
			t.Logf("read %.3f, write %.3f times the size", float64(read)/whole, float64(write)/whole)
			if got := float64(read) / whole; got > tt.read {
				t.Errorf("reading allocates %.2f times the size, want at most %.2f", got, tt.read)
			}
			if got := (float64(write) - buffers) / whole; got > tt.write {
				t.Errorf("writing allocates %.2f times the size, want at most %.2f", got, tt.write)
			}
		})
	}
}

func allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// TestPeakMemory reads, validates and writes a notebook file in a process of its
// own and bounds that process's peak resident memory: 3 times the file's size,
// and 32 MB for the test binary itself.
func TestPeakMemory(t *testing.T) {
	if path := os.Getenv("QUIRE_TEST_PEAK"); path != "" {
		peakChild(path)
		return
	}
	if runtime.GOOS != "linux" {
		t.Log("peak memory is read from /proc: only compiled here")
		return
	}
	size, kinds := 40<<20, []string{bigMixed, bigCells}
	switch {
	case raceEnabled:
		size = 4 << 20
	case *benchMB > 40:
		size, kinds = *benchMB<<20, bigKinds
	}
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "big.ipynb")
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			writeBig(f, kind, size)
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(os.Args[0], "-test.run=^TestPeakMemory$", "-test.v")
			cmd.Env = append(os.Environ(), "QUIRE_TEST_PEAK="+path)
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			var ms, kb, cpu int
			if _, err := fmt.Sscanf(string(out[bytes.Index(out, []byte("peak ")):]), "peak %d KiB, %d ms, CPU %d", &kb, &ms, &cpu); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			in, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			written, err := os.ReadFile(path + ".out")
			if err != nil {
				t.Fatal(err)
			}
			if d := firstDifference(written, in); d != "" {
				t.Error(d)
			}
			t.Logf("%d MB: %d ms, %d ms of CPU, peak %.2f times the size", len(in)>>20, ms, cpu, float64(kb)*1024/float64(len(in)))
			if kb*1024 > 3*len(in)+32<<20 && !raceEnabled {
				t.Errorf("peak %d KiB for a file of %d KiB: more than 3 times", kb, len(in)/1024)
			}
		})
	}
}

func peakChild(path string) {
	start := time.Now()
	err := readValidateWrite(path)
	took := time.Since(start)
	status, err2 := os.ReadFile("/proc/self/status")
	if err := errors.Join(err, err2); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	cpu := time.Duration(use.Utime.Nano() + use.Stime.Nano())
	fmt.Printf("peak %s KiB, %d ms, CPU %d ms\n", strings.Fields(rest)[0], took.Milliseconds(), cpu.Milliseconds())
}

func readValidateWrite(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	nb, err := Read(in)
	if err != nil {
		return err
	}
	if err := nb.Validate(); err != nil {
		return err
	}
	out, err := os.Create(path + ".out")
	if err != nil {
		return err
	}
	if err := nb.Write(out); err != nil {
		return err
	}
	return out.Close()
}
