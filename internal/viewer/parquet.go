package viewer

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"quire/internal/problem"
)

// Bounds of a Parquet file that is shown, in bytes. Its sizes are what a
// stranger wrote: none is believed.
const (
	maxParquetFooter = 4 << 20  // what describes the file, at its end
	maxParquetMemory = 64 << 20 // all pages and values of one reading
	maxParquetHeld   = 32 << 20 // a file that can only be read from its beginning
	maxParquetWindow = 16 << 20 // of a zstd page
)

// parquetReaders is how many Parquet files are read at once: together they bound
// the memory.
var parquetReaders = make(chan struct{}, 2)

// A parquetHead is the first rows of a Parquet file.
type parquetHead struct {
	names  []string
	rows   [][]string
	total  int64    // rows of the file, as it says
	hidden []string // columns that are no values or lists of values
}

// parquetTable writes the first rows of a Parquet file. Only the pages that they
// lie in are read.
func (p *page) parquetTable(r io.Reader, rawURL string) error {
	head, err := readParquet(r, maxTableRows)
	if err != nil {
		p.str("<p class=\"q-empty\">This Parquet file cannot be shown: ")
		p.text(err.Error())
		p.str(".")
		p.rawLink(rawURL, "Download")
		p.str("</p>\n")
		return nil
	}
	p.str(`<div class="q-scroll" tabindex="0"><table class="q-table">`)
	p.row(head.names, 0)
	for i, row := range head.rows {
		p.row(row, i+1)
	}
	p.str("</tbody></table></div>\n<p class=\"q-more\">")
	if n := len(head.rows); int64(n) < head.total {
		p.str("The first ", count(n, "row"), " of ", fmt.Sprint(head.total), ".")
	} else {
		p.str(count(n, "row"), ".")
	}
	if len(head.hidden) > 0 {
		names, _ := cutText(oneLine(strings.Join(head.hidden, ", ")), 300)
		p.str(" Not shown, being nested or too many: ")
		p.text(names)
		p.str(".")
	}
	p.rawLink(rawURL, "The whole file")
	p.str("</p>\n")
	return nil
}

// errParquetBudget is what a reading panics with that wants too much memory.
var errParquetBudget = errors.New("its pages are larger than is read for a table")

// maxParquetTime is how long one reading may take.
const maxParquetTime = 5 * time.Second

var errParquetTime = errors.New("reading its first rows takes too long")

// readParquet reads the first limit rows. What is wrong with the file is an
// error of kind Invalid: the library under it panics on some damage.
func readParquet(r io.Reader, limit int) (head *parquetHead, err error) {
	parquetReaders <- struct{}{}
	defer func() { <-parquetReaders }()
	defer func() {
		switch wrong := recover().(type) {
		case nil:
		case error:
			err = problem.New(problem.Invalid, "%s", parquetReason(wrong))
		default:
			err = problem.New(problem.Invalid, "it is damaged: %.200v", wrong)
		}
		if err != nil {
			head = nil
		}
	}()
	src, size, err := randomAccess(r)
	if err != nil {
		return nil, err
	}
	if err := checkFooter(src, size); err != nil {
		return nil, err
	}
	head, err = readHead(io.NewSectionReader(src, 0, size), int64(limit))
	if err != nil {
		return nil, problem.New(problem.Invalid, "%s", parquetReason(err))
	}
	return head, nil
}

func parquetReason(err error) string {
	if errors.Is(err, errParquetBudget) {
		return errParquetBudget.Error()
	}
	if errors.Is(err, errParquetTime) {
		return errParquetTime.Error()
	}
	reason, _ := cutText(oneLine(strings.ToValidUTF8(err.Error(), "\uFFFD")), 200)
	return "it is damaged: " + reason
}

// randomAccess returns r as something that can be read anywhere, and its size.
// What can only be read from its beginning is held in memory.
func randomAccess(r io.Reader) (io.ReaderAt, int64, error) {
	if s, ok := r.(io.ReadSeeker); ok {
		size, err := s.Seek(0, io.SeekEnd)
		if err == nil {
			if at, ok := r.(io.ReaderAt); ok {
				return at, size, nil
			}
			return &seekerAt{s: s}, size, nil
		}
	}
	data, err := io.ReadAll(io.LimitReader(r, maxParquetHeld+1))
	if err != nil {
		return nil, 0, err
	}
	if len(data) > maxParquetHeld {
		return nil, 0, problem.New(problem.Invalid, "it is larger than %s, and where it lies it can only be read whole", byteSize(maxParquetHeld))
	}
	return bytes.NewReader(data), int64(len(data)), nil
}

// A seekerAt reads anywhere by seeking.
type seekerAt struct {
	mu sync.Mutex
	s  io.ReadSeeker
}

func (a *seekerAt) ReadAt(p []byte, off int64) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, err := a.s.Seek(off, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(a.s, p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// checkFooter sees to it that what describes the file is of a size that can be
// read, and names no list longer than the bytes that are there for it.
func checkFooter(src io.ReaderAt, size int64) error {
	tail := make([]byte, 8)
	if size < 12 {
		return problem.New(problem.Invalid, "it has %d bytes, too few for a Parquet file", size)
	}
	if _, err := src.ReadAt(tail, size-8); err != nil {
		return problem.Wrap(err, "reading its end")
	}
	switch string(tail[4:]) {
	case "PAR1":
	case "PARE":
		return problem.New(problem.Invalid, "it is encrypted")
	default:
		return problem.New(problem.Invalid, "it does not end as a Parquet file does")
	}
	length := int64(binary.LittleEndian.Uint32(tail))
	if length > size-12 {
		return problem.New(problem.Invalid, "its description has %d bytes, more than the file", length)
	}
	if length > maxParquetFooter {
		return problem.New(problem.Invalid, "its description has %d bytes: at most %d are read", length, maxParquetFooter)
	}
	footer := make([]byte, length)
	if _, err := src.ReadAt(footer, size-8-length); err != nil {
		return problem.Wrap(err, "reading its description")
	}
	w := thriftWalker{data: footer}
	return w.structure(0)
}

// readHead reads the first rows of a file whose footer was looked at.
func readHead(src *io.SectionReader, limit int64) (*parquetHead, error) {
	budget := &budgetAllocator{left: maxParquetMemory, end: time.Now().Add(maxParquetTime)}
	props := parquet.NewReaderProperties(budget)
	props.BufferedStreamEnabled, props.BufferSize = true, 64<<10
	raw, err := file.NewParquetReader(&timedReader{src, budget.end}, file.WithReadProps(props))
	if err != nil {
		return nil, err
	}
	in, err := pqarrow.NewFileReader(raw, pqarrow.ArrowReadProperties{BatchSize: limit}, budget)
	if err != nil {
		return nil, err
	}
	head := &parquetHead{total: raw.NumRows()}
	limit = min(limit, max(head.total, 0))
	var columns [][]string
	for i := range in.Manifest.Fields {
		c := columnOf(&in.Manifest.Fields[i])
		if c.leaf < 0 || len(columns) == maxTableCols {
			head.hidden = append(head.hidden, c.name)
			continue
		}
		values, err := readColumn(in, i, c, limit)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", c.name, err)
		}
		head.names, columns = append(head.names, c.name), append(columns, values)
	}
	for n := range int(limit) {
		row := make([]string, len(columns))
		for i, values := range columns {
			if n < len(values) {
				row[i] = values[n]
			}
		}
		head.rows = append(head.rows, row)
	}
	return head, nil
}

// A parquetColumn is a column of the table, and the leaf that holds its values;
// -1 when it is not read.
type parquetColumn struct {
	name string
	leaf int
}

// columnOf returns how the field is read: as a value or a list of values. A
// structure is not: the library reads its parts in goroutines of its own, where
// a panic over damage would end the server.
func columnOf(f *pqarrow.SchemaField) parquetColumn {
	c := parquetColumn{name: f.Field.Name, leaf: f.ColIndex}
	if f.Field.Type.ID() == arrow.LIST && len(f.Children) == 1 && f.Children[0].IsLeaf() {
		c.leaf = f.Children[0].ColIndex
	}
	return c
}

// readColumn reads the first values of a column as text.
func readColumn(in *pqarrow.FileReader, field int, c parquetColumn, limit int64) ([]string, error) {
	if limit == 0 {
		return nil, nil
	}
	groups := make([]int, in.ParquetReader().NumRowGroups())
	for i := range groups {
		groups[i] = i
	}
	reader, err := in.GetFieldReader(context.Background(), field, map[int]bool{c.leaf: true}, groups)
	if err != nil {
		return nil, err
	}
	defer reader.Release()
	chunks, err := reader.NextBatch(limit)
	if err != nil {
		return nil, err
	}
	defer chunks.Release()
	var values []string
	for _, chunk := range chunks.Chunks() {
		for i := 0; i < chunk.Len() && int64(len(values)) < limit; i++ {
			if chunk.IsNull(i) {
				values = append(values, "null")
				continue
			}
			text, _ := cutText(chunk.ValueStr(i), 1001) // the table marks what is longer
			values = append(values, strings.Clone(text))
		}
	}
	return values, nil
}

// A budgetAllocator gives memory until it has given too much; then it panics,
// which is what the library leaves an allocator to do.
type budgetAllocator struct {
	mu   sync.Mutex
	left int64
	end  time.Time // when the reading must be over
}

// A timedReader panics when the time is over: damage can send the library round
// in circles.
type timedReader struct {
	*io.SectionReader
	end time.Time
}

func (r *timedReader) ReadAt(p []byte, off int64) (int, error) {
	inTime(r.end)
	return r.SectionReader.ReadAt(p, off)
}

func (r *timedReader) Read(p []byte) (int, error) {
	inTime(r.end)
	return r.SectionReader.Read(p)
}

func inTime(end time.Time) {
	if time.Now().After(end) {
		panic(errParquetTime)
	}
}

func (b *budgetAllocator) take(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n > 0 {
		inTime(b.end)
	}
	if b.left -= int64(n); b.left < 0 {
		panic(errParquetBudget)
	}
}

// Allocate implements memory.Allocator.
func (b *budgetAllocator) Allocate(size int) []byte {
	b.take(size)
	return memory.DefaultAllocator.Allocate(size)
}

// Reallocate implements memory.Allocator.
func (b *budgetAllocator) Reallocate(size int, old []byte) []byte {
	b.take(size - len(old))
	return memory.DefaultAllocator.Reallocate(size, old)
}

// Free implements memory.Allocator.
func (b *budgetAllocator) Free(old []byte) {
	b.take(-len(old))
	memory.DefaultAllocator.Free(old)
}

// The library's own codecs for these two make what the bytes ask for, whatever
// the page says: a few kilobytes may ask for gigabytes. These make no more than
// there is room for.
var _ = func() struct{} {
	compress.RegisterCodec(compress.Codecs.Snappy, boundedCodec{compress.Codecs.Snappy.String(), must(compress.GetCodec(compress.Codecs.Snappy)), decodeSnappy})
	compress.RegisterCodec(compress.Codecs.Zstd, boundedCodec{compress.Codecs.Zstd.String(), must(compress.GetCodec(compress.Codecs.Zstd)), decodeZstd})
	return struct{}{}
}()

func must(c compress.Codec, err error) compress.Codec {
	if err != nil {
		panic("viewer: a codec of Parquet is missing: " + err.Error())
	}
	return c
}

// A boundedCodec decodes into the room that it is given, or not at all.
type boundedCodec struct {
	name string
	compress.Codec
	decode func(dst, src []byte) (int, error)
}

// Decode implements compress.Codec.
func (c boundedCodec) Decode(dst, src []byte) []byte {
	if dst == nil {
		return c.Codec.Decode(nil, src)
	}
	n, err := c.decode(dst, src)
	if err != nil {
		panic(fmt.Errorf("%s: %w", strings.ToLower(c.name), err))
	}
	return dst[:n]
}

var errPageLonger = errors.New("a page holds more than it says")

func decodeSnappy(dst, src []byte) (int, error) {
	n, err := snappy.DecodedLen(src)
	if err != nil {
		return 0, err
	}
	if n > len(dst) {
		return 0, errPageLonger
	}
	out, err := snappy.Decode(dst, src)
	return len(out), err
}

var zstdReaders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxParquetWindow))
	if err != nil {
		panic("viewer: " + err.Error())
	}
	return d
}}

func decodeZstd(dst, src []byte) (int, error) {
	d := zstdReaders.Get().(*zstd.Decoder)
	defer func() {
		_ = d.Reset(nil)
		zstdReaders.Put(d)
	}()
	if err := d.Reset(bytes.NewReader(src)); err != nil {
		return 0, err
	}
	n, err := io.ReadFull(d, dst)
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return n, nil
	}
	if err != nil {
		return n, err
	}
	if more, err := d.Read(make([]byte, 1)); more > 0 || !errors.Is(err, io.EOF) {
		return n, errPageLonger
	}
	return n, nil
}
