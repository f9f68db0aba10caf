package remote

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"quire/internal/storage"
	"quire/internal/storage/storagetest"
)

func TestAzure(t *testing.T) {
	t.Parallel()
	server := storagetest.StartAzure(t)
	if server == nil {
		return
	}
	open := func(container string) *Store {
		s, err := OpenAzure(Azure{Account: server.Account, Container: container, Endpoint: server.Endpoint, Key: server.Key})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	storagetest.Suite{
		KeepsContentType: true,
		Open: func(t *testing.T) storage.Store {
			return open(server.NewContainer(t, func(address string) error {
				u, err := url.Parse(address)
				if err != nil {
					return err
				}
				_, _, err = open("container").calls.small(context.Background(),
					call{method: http.MethodPut, url: u, header: http.Header{}, body: []byte{}})
				return err
			}))
		},
	}.Run(t)
}
