package api

import (
	"context"
	"hash/maphash"
	"net/http"
	"strings"

	"quire/internal/contents"
)

// A Live knows the live documents of files.
type Live interface {
	// Hold writes the live document of the file at path into it, if one is open, and
	// keeps the document from writing again until release is called, some seconds at
	// most. release takes the hash of the version that a save in between was made
	// from, "" when nothing was saved or it is not known: the document takes in what
	// the save changed.
	// Without a live document, or where it cannot be reached, nothing is held. Both
	// are quick where there is none.
	Hold(ctx context.Context, path string) (release func(from contents.Hash))
}

// clientSeed makes what clientOf returns good for this process only.
var clientSeed = maphash.MakeSeed()

// clientOf tells clients apart that know no versions: by what they prove
// themselves with and what they say that they are. It is never 0.
func clientOf(r *http.Request) uint64 {
	var h maphash.Hash
	h.SetSeed(clientSeed)
	_, _ = h.WriteString(user(r).Name)
	proofs := []string{r.UserAgent(), r.Header.Get("Authorization"), r.URL.Query().Get("token")}
	for _, c := range r.Cookies() {
		if strings.Contains(c.Name, "quire") {
			proofs = append(proofs, c.Value)
		}
	}
	for _, part := range proofs {
		_ = h.WriteByte(0)
		_, _ = h.WriteString(part)
	}
	return max(h.Sum64(), 1)
}
