package remote

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
)

// sign adds what the service wants in every request, and the credentials: the
// account's key as "Shared Key" (a shared access signature is in the URL
// already), or a bearer token.
func (d *azure) sign(ctx context.Context, req *http.Request, body []byte) error {
	req.Header.Set("X-Ms-Version", azureVersion)
	req.Header.Set("X-Ms-Date", time.Now().UTC().Format(http.TimeFormat))
	switch {
	case len(d.key) > 0:
		mac := hmac.New(sha256.New, d.key)
		mac.Write([]byte(d.stringToSign(req, len(body))))
		req.Header.Set("Authorization", "SharedKey "+d.cfg.Account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	case len(d.sas) == 0 && d.cfg.Token != nil:
		token, err := d.cfg.Token(ctx)
		if err != nil {
			return problem.WrapAs(problem.Denied, bare(err), "the credentials for Azure could not be had")
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return nil
}

// stringToSign is the request in the form that a Shared Key signs.
func (d *azure) stringToSign(req *http.Request, length int) string {
	size := ""
	if length > 0 {
		size = strconv.Itoa(length)
	}
	h := req.Header
	lines := []string{
		req.Method, h.Get("Content-Encoding"), h.Get("Content-Language"), size, h.Get("Content-Md5"), h.Get("Content-Type"),
		"", // the date is in X-Ms-Date
		h.Get("If-Modified-Since"), h.Get("If-Match"), h.Get("If-None-Match"), h.Get("If-Unmodified-Since"), h.Get("Range"),
	}
	for _, name := range slices.Sorted(maps.Keys(h)) {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-ms-") {
			lines = append(lines, lower+":"+strings.TrimSpace(h.Get(name)))
		}
	}
	resource := "/" + d.cfg.Account + req.URL.EscapedPath()
	query := req.URL.Query()
	for _, name := range slices.Sorted(maps.Keys(query)) {
		values := slices.Sorted(slices.Values(query[name]))
		resource += "\n" + strings.ToLower(name) + ":" + strings.Join(values, ",")
	}
	return strings.Join(append(lines, resource), "\n")
}
