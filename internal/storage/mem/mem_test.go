package mem_test

import (
	"testing"

	"quire/internal/storage"
	"quire/internal/storage/mem"
	"quire/internal/storage/storagetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storagetest.Suite{
		Open:             func(*testing.T) storage.Store { return mem.New(mem.Config{MaxBytes: 32 << 20}) },
		KeepsContentType: true,
	}.Run(t)
}
