package local_test

import (
	"testing"

	"quire/internal/storage"
	"quire/internal/storage/local"
	"quire/internal/storage/storagetest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	storagetest.Run(t, func(t *testing.T) storage.Store {
		s, err := local.Open(local.Config{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
