package engine

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"quire/internal/notebook"
)

func TestMask(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t/väl\"ue\n"
	m := newMasker(map[string]string{"a": secret, "b": "abc", "pem": "-----BEGIN\nMIIEowIBAAKCAQEA\n-----END\n"})
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		secret, "x" + secret + "y", strings.TrimSpace(secret), base64.StdEncoding.EncodeToString([]byte(secret)),
		base64.RawURLEncoding.EncodeToString([]byte(strings.TrimSpace(secret))), url.QueryEscape(secret), url.PathEscape(secret),
		string(quoted), `'s3cr3t/väl"ue\n'`, `"s3cr3t/v\u00e4l\"ue\n"`, "s3cr3t/väl&#34;ue", "key: MIIEowIBAAKCAQEA.",
	} {
		if got := m.text(text); strings.Contains(got, "s3cr3t") || strings.Contains(got, "MIIEow") || !strings.Contains(got, maskText) {
			t.Errorf("%q became %q", text, got)
		}
	}
	for _, text := range []string{"", "abc", "nothing here", "s3cr3"} {
		if got := m.text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
	raw := m.raw(notebook.Raw(`{"s3cr3t/v\u00e4l\u0022ue\n": [1, {"x": "\u00733cr3t/väl\"ue"}]}`))
	if !json.Valid(raw) || strings.Contains(string(raw), "cr3t") {
		t.Errorf("JSON became %s", raw)
	}
	pin := newMasker(map[string]string{"pin": "48151623"})
	if raw := pin.raw(notebook.Raw(`{"n": 48151623}`)); !json.Valid(raw) || strings.Contains(string(raw), "4815") {
		t.Errorf("a number became %s", raw)
	}
}

// TestMaskWriter masks what a kernel's process itself writes.
func TestMaskWriter(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	_, _, _, err := runFake(t, Request{
		Secrets: map[string]string{"key": "open sesame"}, KernelOutput: &out,
	}, "words it is open sesame now", "words ope", "exit 1")
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "it is "+maskText+" now") || !strings.Contains(got, "ope") {
		t.Errorf("the kernel's output is %q", got)
	}
}

// FuzzStreamMask splits a text anywhere: what is shown holds no secret, and is
// what masking the whole gives.
func FuzzStreamMask(f *testing.F) {
	f.Add("the password is hunter22 ok", "hunter22", uint8(3))
	f.Add("ababababab", "abab", uint8(1))
	f.Add("aaaaaaaaa", "aaaa", uint8(2))
	f.Fuzz(func(t *testing.T, text, secret string, step uint8) {
		m := newMasker(map[string]string{"s": secret})
		if m == nil || !utf8.ValidString(text) || !utf8.ValidString(secret) {
			return
		}
		s := &streamMask{m: m}
		var shown strings.Builder
		for rest := text; rest != ""; {
			n := min(int(step)+1, len(rest))
			shown.WriteString(s.write(rest[:n]))
			rest = rest[n:]
		}
		shown.WriteString(s.flush())
		if got, want := shown.String(), m.text(text); got != want {
			t.Errorf("in pieces %q, whole %q", got, want)
		}
		if strings.Contains(strings.ReplaceAll(shown.String(), maskText, ""), secret) && !strings.Contains(secret, "*") &&
			!strings.Contains(strings.ReplaceAll(text, secret, ""), secret) {
			t.Errorf("%q still holds %q", shown.String(), secret)
		}
	})
}
