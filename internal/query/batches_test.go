package query_test

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"

	"quire/internal/query"
)

// TestBatches: every row is written once, in batches that are full or were asked for.
func TestBatches(t *testing.T) {
	t.Parallel()
	schema := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil)
	for _, tt := range []struct {
		name        string
		rows, bytes int   // of each row
		asked       int   // a batch is asked for after so many rows
		want        []int // rows of the batches
	}{
		{"none", 0, 0, 0, nil},
		{"few", 3, 8, 0, []int{3}},
		{"asked for", 3, 8, 1, []int{1, 2}},
		{"full of rows", 32<<10 + 5, 8, 0, []int{32 << 10, 5}},
		{"full of bytes", 5, 4 << 20, 0, []int{2, 2, 1}},
	} {
		var out bytes.Buffer
		b := query.NewBatches(&out, schema)
		for i := range tt.rows {
			b.Columns[0].(*array.Int64Builder).Append(int64(i))
			b.Add(tt.bytes)
			if !b.Full() && i+1 != tt.asked {
				continue
			}
			if err := b.Flush(); err != nil || b.Waiting() != 0 {
				t.Fatalf("%s: %v, %d rows wait", tt.name, err, b.Waiting())
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		b.Release()
		r, err := ipc.NewReader(&out)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		var got []int
		next := int64(0)
		for r.Next() {
			column := r.RecordBatch().Column(0).(*array.Int64)
			got = append(got, column.Len())
			for i := range column.Len() {
				if column.Value(i) != next {
					t.Fatalf("%s: row %d is %d", tt.name, next, column.Value(i))
				}
				next++
			}
		}
		if err := r.Err(); err != nil && err != io.EOF || !slices.Equal(got, tt.want) || next != int64(tt.rows) {
			t.Errorf("%s: batches of %v rows, want %v; %v", tt.name, got, tt.want, err)
		}
	}
}
