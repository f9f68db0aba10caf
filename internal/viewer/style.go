package viewer

import (
	"crypto/sha256"
	_ "embed" // the stylesheet below
	"encoding/base64"
	"encoding/hex"
	"sync"
)

//go:embed style/quire.css
var stylesheet string

// Stylesheet returns the stylesheet of every page that Quire renders. It loads
// nothing: no import, no font, no image.
func Stylesheet() string { return stylesheet }

var stylesheetSums = sync.OnceValues(func() (csp, name string) {
	sum := sha256.Sum256([]byte(stylesheet))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:]), hex.EncodeToString(sum[:6])
})

// StylesheetHash returns the source expression that a Content-Security-Policy
// needs to allow the stylesheet as the exact text of a style element:
// "sha256-" and the digest in base64.
func StylesheetHash() string {
	csp, _ := stylesheetSums()
	return csp
}

// StylesheetName returns the file name under which the stylesheet is served,
// quire.<digest>.css. It changes with the content, so it may be cached for ever.
func StylesheetName() string {
	_, name := stylesheetSums()
	return "quire." + name + ".css"
}
