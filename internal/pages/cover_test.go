package pages

import (
	"testing"

	"quire/internal/search"
)

func TestCoverOfADescribedNotebook(t *testing.T) {
	t.Parallel()
	png := "data:image/PNG;base64,iVBOR w0KGgo="
	for image, want := range map[string]string{
		png: "data:image/png;base64,iVBORw0KGgo=", "plot.png": "/files/users/me/plot.png", "img/a b.svg": "/files/users/me/img/a%20b.svg",
		"": "", "../other/plot.png": "", "/files/users/other/x.png": "", "https://example.org/x.png": "", "//example.org/x.png": "",
		"notes.txt": "", "data:text/html;base64,PHA+": "", `data:image/png;base64,"onerror=x`: "", "javascript:alert(1)": "",
	} {
		if got := cover(search.Document{Path: "users/me/a.ipynb", Image: image}); string(got) != want {
			t.Errorf("%q: the cover is %q, want %q", image, got, want)
		}
	}
}
