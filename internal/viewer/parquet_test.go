package viewer

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// parquetOf is a file of rows with a number, a text and a list.
func parquetOf(t testing.TB, rows int, codec compress.Compression, text func(i int) string) []byte {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "hours", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "device", Type: arrow.BinaryTypes.String},
		{Name: "days", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "place", Type: arrow.StructOf(arrow.Field{Name: "country", Type: arrow.BinaryTypes.String, Nullable: true}), Nullable: true},
		{Name: "tags", Type: arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64), Nullable: true},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i := range rows {
		if i%7 == 3 {
			b.Field(0).AppendNull()
		} else {
			b.Field(0).(*array.Float64Builder).Append(float64(i) / 2)
		}
		b.Field(1).(*array.StringBuilder).Append(text(i))
		days := b.Field(2).(*array.ListBuilder)
		days.Append(true)
		days.ValueBuilder().(*array.Int64Builder).AppendValues([]int64{int64(i), 2}, nil)
		place := b.Field(3).(*array.StructBuilder)
		place.Append(true)
		place.FieldBuilder(0).(*array.StringBuilder).Append("FR")
		b.Field(4).AppendNull()
	}
	rec := b.NewRecordBatch()
	defer rec.Release()
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(parquet.WithCompression(codec), parquet.WithMaxRowGroupLength(1000)), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func device(i int) string { return fmt.Sprintf("device <%d>", i%5) }

func TestParquetOfEveryCodec(t *testing.T) {
	t.Parallel()
	for _, codec := range []compress.Compression{
		compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Gzip, compress.Codecs.Zstd, compress.Codecs.Brotli, compress.Codecs.Lz4Raw,
	} {
		t.Run(codec.String(), func(t *testing.T) {
			t.Parallel()
			head, err := readParquet(bytes.NewReader(parquetOf(t, 2500, codec, device)), 3)
			if err != nil {
				t.Fatal(err)
			}
			want := &parquetHead{
				names: []string{"hours", "device", "days"}, total: 2500, hidden: []string{"place", "tags"},
				rows: [][]string{{"0", "device <0>", "[0,2]"}, {"0.5", "device <1>", "[1,2]"}, {"1", "device <2>", "[2,2]"}},
			}
			if diff := cmp.Diff(want, head, cmp.AllowUnexported(parquetHead{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The fixture was written by pyarrow: dates, times, decimals, categories.
func TestParquetOfPyarrow(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/pyarrow.parquet")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var page strings.Builder
	if err := RenderFile(&page, "pyarrow.parquet", file, "/files/pyarrow.parquet", Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`<th scope="col">when</th>`, "2018-05-08", ">12.5<", ">tv<", "[1,2,3]", ">null<", fmt.Sprintf("The first %d rows of 1000.", maxTableRows), `href="/files/pyarrow.parquet"`, "&lt;b&gt;",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page lacks %q:\n%.3000s", want, page.String())
		}
	}
}

// Only the pages that the first rows lie in are read.
func TestParquetReadsNoMoreThanItShows(t *testing.T) {
	t.Parallel()
	data := parquetOf(t, 60_000, compress.Codecs.Uncompressed, func(i int) string { return strings.Repeat("x", 200) + fmt.Sprint(i) })
	src := &counter{Reader: bytes.NewReader(data)}
	head, err := readParquet(src, maxTableRows)
	if err != nil || head.total != 60_000 || len(head.rows) != maxTableRows {
		t.Fatalf("%+v, %v", head, err)
	}
	if src.read > int64(len(data)/4) {
		t.Errorf("%d bytes of %d were read for %d rows", src.read, len(data), maxTableRows)
	}
}

type counter struct {
	*bytes.Reader
	read int64
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	n, err := c.Reader.ReadAt(p, off)
	c.read += int64(n)
	return n, err
}

// hostileFooters are ends of files that ask for more than there is.
func TestParquetFooters(t *testing.T) {
	t.Parallel()
	end := func(footer []byte, magic string) []byte {
		out := append([]byte("PAR1"), footer...)
		out = binary.LittleEndian.AppendUint32(out, uint32(len(footer)))
		return append(out, magic...)
	}
	deep := bytes.Repeat([]byte{0x1c}, 100_000)
	for _, tt := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "too few", nil},
		{"text", "does not end as", []byte("a,b,c\n1,2,3\n4,5,6\n")},
		{"encrypted", "encrypted", end(nil, "PARE")},
		{"footer longer than the file", "more than the file", append([]byte("PAR1xxxx"), "\xff\xff\x00\x00PAR1"...)},
		{"a list of 2^31", "longer than what is left", end([]byte{0x29, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x07}, "PAR1")},
		{"a text of 2^31", "ends too early", end([]byte{0x18, 0xff, 0xff, 0xff, 0xff, 0x07}, "PAR1")},
		{"nested for ever", "too deeply", end(deep, "PAR1")},
		{"cut off", "ends too early", end([]byte{0x15}, "PAR1")[:12+1]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if tt.name == "cut off" {
				tt.data = end([]byte{0x19}, "PAR1")
			}
			_, err := readParquet(bytes.NewReader(tt.data), 10)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v: want %q", err, tt.want)
			}
		})
	}
}

// A page of a few kilobytes that says it is small and holds a gigabyte.
func TestParquetBombs(t *testing.T) {
	t.Parallel()
	var z bytes.Buffer
	w, err := zstd.NewWriter(&z)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 1<<20)
	for range 256 {
		if _, err := w.Write(zeros); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for codec, src := range map[compress.Compression][]byte{
		compress.Codecs.Zstd:   z.Bytes(),
		compress.Codecs.Snappy: snappy.Encode(nil, make([]byte, 64<<20)),
	} {
		c, err := compress.GetCodec(codec)
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: %d bytes were decoded into 1000", codec, len(src))
				}
			}()
			c.Decode(make([]byte, 1000), src)
		}()
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
			t.Errorf("%s: %d bytes were given for 1000", codec, grown)
		}
	}
}

// A dictionary of one large text that every row names is small on the disk.
func TestParquetBudget(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 1<<20)
	_, err := readParquet(bytes.NewReader(parquetOf(t, 150, compress.Codecs.Zstd, func(int) string { return big })), 200)
	if err == nil || !strings.Contains(err.Error(), "larger than is read") {
		t.Errorf("%v: want it to stop at the budget", err)
	}
}

// FuzzParquet: whatever the bytes, there is an answer, and no more memory than
// the budget.
func FuzzParquet(f *testing.F) {
	for _, codec := range []compress.Compression{compress.Codecs.Snappy, compress.Codecs.Zstd, compress.Codecs.Gzip} {
		f.Add(parquetOf(f, 20, codec, device))
	}
	whole := parquetOf(f, 20, compress.Codecs.Snappy, device)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 300 { // damaged at a place or two
		data := bytes.Clone(whole)
		for range 1 + rng.IntN(3) {
			data[rng.IntN(len(data)-8)] = byte(rng.IntN(256))
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		head, err := readParquet(io.Reader(bytes.NewReader(data)), 10)
		if err == nil && (len(head.rows) > 10 || len(head.names) > maxTableCols) {
			t.Errorf("%d rows of %d columns", len(head.rows), len(head.names))
		}
	})
}
