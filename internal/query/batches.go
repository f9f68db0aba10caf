package query

import (
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// Limits of a batch: one that has as many rows, or bytes of values, is Full.
const (
	batchRows  = 32 << 10
	batchBytes = 8 << 20
)

// Batches write the rows of a result as an Arrow stream, for sources that are given
// them one by one. They are not safe for concurrent use.
type Batches struct {
	// Columns take the values of a row, each one; then Add counts it.
	Columns []array.Builder

	schema *arrow.Schema
	w      *ipc.Writer
	rows   int // since the last batch
	bytes  int
}

// NewBatches write to a stream. Release is to be called when they are done with.
func NewBatches(out io.Writer, schema *arrow.Schema) *Batches {
	b := &Batches{schema: schema, w: ipc.NewWriter(out, ipc.WithSchema(schema))}
	for _, f := range schema.Fields() {
		b.Columns = append(b.Columns, array.NewBuilder(memory.DefaultAllocator, f.Type))
	}
	return b
}

// Add counts a row that is in the columns, with values of so many bytes.
func (b *Batches) Add(bytes int) { b.rows, b.bytes = b.rows+1, b.bytes+bytes }

// Waiting is how many rows the next batch has so far.
func (b *Batches) Waiting() int { return b.rows }

// Full reports whether the rows so far are enough for a batch.
func (b *Batches) Full() bool { return b.rows >= batchRows || b.bytes >= batchBytes }

// Flush writes the rows so far as one batch; nothing where there are none.
func (b *Batches) Flush() error {
	if b.rows == 0 {
		return nil
	}
	columns := make([]arrow.Array, len(b.Columns))
	for i, c := range b.Columns {
		columns[i] = c.NewArray()
		defer columns[i].Release()
	}
	batch := array.NewRecordBatch(b.schema, columns, int64(b.rows))
	defer batch.Release()
	b.rows, b.bytes = 0, 0
	return b.w.Write(batch)
}

// Close writes what is left, and the end of the stream.
func (b *Batches) Close() error {
	if err := b.Flush(); err != nil {
		return err
	}
	return b.w.Close()
}

// Release gives back the memory of the columns.
func (b *Batches) Release() {
	for _, c := range b.Columns {
		c.Release()
	}
}
