package viewer

import (
	"strings"
	"testing"
)

// TestFrameLetters: no tag is passed over by its first letter.
func TestFrameLetters(t *testing.T) {
	t.Parallel()
	for _, tag := range frameTags {
		if !needsFrame("<p><"+strings.ToUpper(tag)+">") || !needsFrame("<"+tag+" x>") {
			t.Errorf("%s is passed over", tag)
		}
	}
}

// TestKeptHTMLIsTheSame: what the cache gives back is what sanitizing gives, and
// what depends on the page is never kept.
func TestKeptHTMLIsTheSame(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		src  string
		kept bool
	}{
		{"<table><tr><td class=\"dataframe\">1</td></tr></table>", true},
		{"plain", true},
		{"<b>open<script>alert(1)</script>", true},
		{"<a href=\"x.ipynb\">x</a>", false},
		{"<A HREF=x>x</A>", false},
		{"<img src=\"https://example.org/a.png\" alt=\"a\">", false},
		{"<img src=x onerror=alert(1)>", false},
		{"<p title=\"t\">x</p>", false},
	} {
		c := NewCache(0)
		here := reference{link: func(string) string { return "/here" }, image: func(string) string { return "/image" }}
		there := reference{link: func(string) string { return "/there" }, image: func(string) string { return "" }}
		for range 2 {
			for _, refs := range []reference{here, there, {}} {
				if got, want := c.sanitize(tt.src, refs), sanitize(tt.src, refs); got != want {
					t.Errorf("%s: got %s, want %s", tt.src, got, want)
				}
			}
		}
		if kept := len(c.recent) > 0; kept != tt.kept {
			t.Errorf("%s: kept %t, want %t", tt.src, kept, tt.kept)
		}
	}
}
