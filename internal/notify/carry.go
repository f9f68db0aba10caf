package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/smtp"
	"net/url"
	"strings"
	"time"

	"quire/internal/problem"
)

// A Channel is a webhook or a chat. Its address and key are secrets.
type Channel struct {
	Kind string // webhook or slack
	// URL and Key return the secrets when they are needed. Key signs what a
	// webhook is sent; nil signs nothing.
	URL func() (string, error)
	Key func() (string, error)
}

// The kinds of channels.
const (
	Webhook = "webhook"
	Slack   = "slack" // and what takes Slack's messages
)

// A Mail is a server that takes e-mail.
type Mail struct {
	Address  string // host:port; "" is none
	From     string
	User     string
	Password func() (string, error) // nil with an empty User
	// Plain sends without TLS where the server offers none; a password never goes
	// without it, except to this machine.
	Plain bool
	TLS   *tls.Config // of tests; nil is the system's roots
}

// Carriers send by e-mail and over channels.
type Carriers struct {
	Base     func() string // the server's address, without a slash at its end
	Mail     Mail
	Channels map[string]Channel
	Client   *http.Client // http.DefaultClient when nil
	Now      func() time.Time
}

// Known reports what is wrong with a rule on this server; nil is nothing.
func (c *Carriers) Known(r Rule) error {
	if r.Channel != "" {
		if _, ok := c.Channels[r.Channel]; !ok {
			return problem.New(problem.Invalid, "notify: there is no channel %q in the server's configuration", r.Channel)
		}
		return nil
	}
	if c.Mail.Address == "" {
		return problem.New(problem.Invalid, "notify: the server has no way to send e-mail: its configuration needs notify.smtp")
	}
	return nil
}

// Send implements Carrier.
func (c *Carriers) Send(ctx context.Context, id string, to Rule, notices []Notice) error {
	if err := c.Known(to); err != nil {
		return err
	}
	if to.Channel == "" {
		return problem.Wrap(c.email(ctx, id, to.Email, notices), "sending e-mail to %s", strings.Join(to.Email, ", "))
	}
	ch := c.Channels[to.Channel]
	if ch.Kind == Slack {
		body, err := json.Marshal(map[string]string{"text": escapeSlack(Subject(notices)) + "\n" + escapeSlack(Text(c.Base(), notices))})
		if err == nil {
			err = c.post(ctx, id, ch, body)
		}
		return problem.Wrap(err, "sending to channel %s", to.Channel)
	}
	facts := make([]Fact, len(notices))
	for i, n := range notices {
		facts[i] = n.Fact
	}
	body, err := json.Marshal(map[string]any{"id": id, "subject": Subject(notices), "server": c.Base(), "facts": facts})
	if err == nil {
		err = c.post(ctx, id, ch, body)
	}
	return problem.Wrap(err, "sending to channel %s", to.Channel)
}

// escapeSlack takes the meaning from the three characters that Slack reads.
func escapeSlack(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// The headers of a webhook.
const (
	DeliveryHeader  = "Quire-Delivery"  // the id: the same when it is sent again
	SignatureHeader = "Quire-Signature" // t=UNIX,v1=HEX: HMAC-SHA256 of "UNIX.BODY"
)

// Sign is the signature of a body sent at a time.
func Sign(key string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, []byte(key))
	fmt.Fprintf(mac, "%d.", at.Unix())
	_, _ = mac.Write(body)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

func (c *Carriers) post(ctx context.Context, id string, ch Channel, body []byte) error {
	address, err := ch.URL()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSpace(address), bytes.NewReader(body))
	if err != nil {
		return problem.New(problem.Invalid, "its address is none")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(DeliveryHeader, id)
	if ch.Key != nil {
		key, err := ch.Key()
		if err != nil {
			return err
		}
		req.Header.Set(SignatureHeader, Sign(strings.TrimSpace(key), c.Now(), body))
	}
	client := c.Client
	if client == nil {
		client = http.DefaultClient
	}
	answer, err := client.Do(req)
	if err != nil {
		var u *url.Error // it holds the address, which is a secret
		if errors.As(err, &u) {
			err = u.Err
		}
		return problem.WrapAs(problem.Unavailable, err, "asking it")
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 64<<10))
	if answer.StatusCode >= 300 {
		return problem.New(problem.Unavailable, "it answered %s", answer.Status)
	}
	return nil
}

// email sends one message to all addresses.
func (c *Carriers) email(ctx context.Context, id string, to []string, notices []Notice) error {
	host, _, err := net.SplitHostPort(c.Mail.Address)
	if err != nil {
		return problem.New(problem.Invalid, "smtp address %q: want HOST:PORT", c.Mail.Address)
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.Mail.Address)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "reaching the mail server")
	}
	defer conn.Close()
	if end, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(end)
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "greeting the mail server")
	}
	defer client.Close()
	if err := c.secure(client, host); err != nil {
		return err
	}
	if err := client.Mail(c.Mail.From); err != nil {
		return problem.WrapAs(problem.Unavailable, err, "as %s", c.Mail.From)
	}
	for _, one := range to {
		if err := client.Rcpt(one); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "to %s", one)
		}
	}
	w, err := client.Data()
	if err == nil {
		_, err = w.Write(c.message(id, to, notices))
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return problem.WrapAs(problem.Unavailable, err, "giving the message")
	}
	_ = client.Quit() // the message is taken
	return nil
}

// secure turns TLS on and signs in.
func (c *Carriers) secure(client *smtp.Client, host string) error {
	if ok, _ := client.Extension("STARTTLS"); ok {
		cfg := &tls.Config{MinVersion: tls.VersionTLS12}
		if c.Mail.TLS != nil {
			cfg = c.Mail.TLS.Clone()
		}
		cfg.ServerName = host
		if err := client.StartTLS(cfg); err != nil {
			return problem.WrapAs(problem.Unavailable, err, "beginning TLS")
		}
	} else if !c.Mail.Plain {
		return problem.New(problem.Unavailable, "the mail server offers no TLS: set notify.smtp.plain to send without")
	}
	if c.Mail.User == "" {
		return nil
	}
	password, err := c.Mail.Password()
	if err != nil {
		return err
	}
	err = client.Auth(smtp.PlainAuth("", c.Mail.User, strings.TrimSpace(password), host))
	return problem.WrapAs(problem.Unavailable, err, "signing in as %s", c.Mail.User)
}

// message is an e-mail as it is sent.
func (c *Carriers) message(id string, to []string, notices []Notice) []byte {
	var b bytes.Buffer
	domain := c.Mail.From[strings.LastIndexByte(c.Mail.From, '@')+1:]
	for _, h := range [][2]string{
		{"From", "Quire <" + c.Mail.From + ">"},
		{"To", strings.Join(to, ", ")},
		{"Subject", mime.QEncoding.Encode("utf-8", Subject(notices))},
		{"Date", c.Now().UTC().Format(time.RFC1123Z)},
		{"Message-ID", "<" + id + "@" + domain + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write([]byte(strings.ReplaceAll(Text(c.Base(), notices), "\n", "\r\n"))) // to memory
	_ = w.Close()
	return b.Bytes()
}
