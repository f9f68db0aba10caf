package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"quire/internal/db"
	"quire/internal/db/dbtest"
	"quire/internal/notify"
	"quire/internal/problem"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func factOf(event notify.Event) notify.Fact {
	return notify.Fact{
		Event: event, Schedule: "nightly", Fire: "f1", Slot: noon, State: "failed", Reason: "step load: raised KeyError", Owner: "ann", Path: "/schedules/nightly", At: noon,
		Parts: []notify.Part{{Name: "load", State: "failed", Run: "06h0nax974k8qw7wcbqe8mdh48", Cell: 7, Message: "KeyError: 'fr'\r\nBcc: evil@example.org <!channel>", Parameters: json.RawMessage(`{"country":"FR"}`)}},
	}
}

// A letter is what the mail server took.
type letter struct {
	from string
	to   []string
	data []byte
}

// A post is a mail server of the test.
type post struct {
	mu      sync.Mutex
	letters []letter
	refuse  int // how many messages are refused first
}

func (p *post) NewSession(*smtp.Conn) (smtp.Session, error) { return &session{post: p}, nil }

type session struct {
	*post
	letter
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error { s.from = from; return nil }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error   { s.to = append(s.to, to); return nil }
func (s *session) Reset()                                      { s.letter = letter{} }
func (s *session) Logout() error                               { return nil }
func (s *session) Data(r io.Reader) error {
	data, err := io.ReadAll(r)
	s.data = data
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return errors.New("try later")
	}
	s.letters = append(s.letters, s.letter)
	return err
}

// startPost starts a mail server and returns its address.
func startPost(t *testing.T) (*post, string) {
	t.Helper()
	p := &post{}
	server := smtp.NewServer(p)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	return p, l.Addr().String()
}

func (p *post) taken() []letter {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]letter{}, p.letters...)
}

// A delivery is what a webhook got.
type delivery struct {
	header http.Header
	body   []byte
}

// A hook is a webhook's receiver.
type hook struct {
	mu   sync.Mutex
	got  []delivery
	fail int // how many are refused first
	url  string
}

func startHook(t *testing.T) *hook {
	t.Helper()
	h := &hook{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.fail > 0 {
			h.fail--
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		h.got = append(h.got, delivery{r.Header.Clone(), body})
	}))
	t.Cleanup(server.Close)
	h.url = server.URL + "/secret-path"
	return h
}

type bench struct {
	*testing.T
	records  *db.DB
	now      time.Time
	post     *post
	hook     *hook
	carriers *notify.Carriers
	sender   *notify.Sender
}

func setup(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, now: noon, records: dbtest.Open(t, filepath.Join(t.TempDir(), "q.db")), hook: startHook(t)}
	var address string
	b.post, address = startPost(t)
	url := func() (string, error) { return b.hook.url, nil }
	b.carriers = &notify.Carriers{
		Base: func() string { return "https://quire.example.org" }, Now: func() time.Time { return b.now },
		Mail: notify.Mail{Address: address, From: "quire@example.org", Plain: true},
		Channels: map[string]notify.Channel{
			"hook": {Kind: notify.Webhook, URL: url, Key: func() (string, error) { return "key", nil }}, "chat": {Kind: notify.Slack, URL: url},
		},
	}
	b.sender = notify.New(notify.Config{Store: b.records, Carrier: b.carriers, Now: func() time.Time { return b.now }})
	return b
}

// record records the notices of a fact, as a schedule does.
func (b *bench) record(key string, event notify.Event, rules ...notify.Rule) {
	b.Helper()
	fact := factOf(event)
	fact.At = b.now
	if err := b.records.RecordNotices(b.Context(), notify.Notices(rules, key, fact)); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) round(d time.Duration) {
	b.Helper()
	b.now = b.now.Add(d)
	if err := b.sender.Round(b.Context()); err != nil {
		b.Fatal(err)
	}
}

var all = []notify.Event{notify.Failure, notify.Success, notify.Late, notify.Recovery}

func TestEmail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rule := notify.Rule{Email: []string{"ann@example.org", "bob@example.org"}, On: all}
	b.record("f1", notify.Failure, rule)
	b.record("f1", notify.Failure, rule) // whoever decides a second time
	b.round(0)
	b.round(time.Hour)
	got := b.post.taken()
	if len(got) != 1 || strings.Join(got[0].to, " ") != "ann@example.org bob@example.org" || got[0].from != "quire@example.org" {
		t.Fatalf("the mail server took %+v", got)
	}
	m, err := mail.ReadMessage(bytes.NewReader(got[0].data))
	if err != nil {
		t.Fatal(err)
	}
	subject, _ := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil || subject != "nightly failed at cell 7 of load" || m.Header.Get("Bcc") != "" {
		t.Errorf("subject %q, Bcc %q, %v", subject, m.Header.Get("Bcc"), err)
	}
	for _, want := range []string{"KeyError: 'fr'", `parameters: {"country":"FR"}`, "https://quire.example.org/runs/06h0nax974k8qw7wcbqe8mdh48", "https://quire.example.org/schedules/nightly", "2026-11-30T12:00:00Z"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the text has no %q:\n%s", want, body)
		}
	}
}

func TestWebhookIsSigned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.record("f1", notify.Late, notify.Rule{Channel: "hook", On: all})
	b.round(0)
	if len(b.hook.got) != 1 {
		t.Fatalf("%d deliveries", len(b.hook.got))
	}
	d := b.hook.got[0]
	if got, want := d.header.Get(notify.SignatureHeader), notify.Sign("key", b.now, d.body); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	var body struct {
		ID    string
		Facts []notify.Fact
	}
	if err := json.Unmarshal(d.body, &body); err != nil || body.ID != d.header.Get(notify.DeliveryHeader) || len(body.Facts) != 1 || body.Facts[0].Parts[0].Cell != 7 {
		t.Errorf("the body is %s, %v", d.body, err)
	}
}

func TestSlackTextIsText(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.record("f1", notify.Failure, notify.Rule{Channel: "chat", On: all})
	b.round(0)
	var body struct{ Text string }
	if err := json.Unmarshal(b.hook.got[0].body, &body); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(body.Text, "<!channel>") || !strings.Contains(body.Text, "&lt;!channel&gt;") {
		t.Errorf("a notebook's text rings everybody: %s", body.Text)
	}
}

func TestTriedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.hook.fail, b.post.refuse = 2, 1
	b.record("f1", notify.Failure, notify.Rule{Channel: "hook", On: all}, notify.Rule{Email: []string{"ann@example.org"}, On: all})
	b.round(0)
	notices, err := b.records.Notices(t.Context(), "nightly", 10)
	if err != nil || len(notices) != 2 || notices[0].State != notify.Pending || notices[0].Tries != 1 || notices[0].Error == "" || strings.Contains(notices[0].Error, "secret-path") {
		t.Fatalf("after a failure: %+v, %v", notices, err)
	}
	b.round(time.Second)
	if len(b.post.taken()) != 0 {
		t.Error("it was tried again at once")
	}
	for range 5 {
		b.round(time.Minute)
	}
	if len(b.post.taken()) != 1 || len(b.hook.got) != 1 {
		t.Errorf("%d letters and %d deliveries, want one of each", len(b.post.taken()), len(b.hook.got))
	}
	b.hook.fail = 1000
	b.record("f2", notify.Failure, notify.Rule{Channel: "hook", On: all})
	for range notify.MaxTries + 3 {
		b.round(2 * time.Hour)
	}
	notices, _ = b.records.Notices(t.Context(), "nightly", 10)
	if n := notices[0]; n.State != notify.Failed || n.Tries != notify.MaxTries {
		t.Errorf("what cannot be sent is %+v", n)
	}
}

// TestSenderDies lets a sender take a notice and go away before it notes it: it is
// sent after the lease, under the same id.
func TestSenderDies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.record("f1", notify.Failure, notify.Rule{Channel: "hook", On: all})
	dying, die := context.WithCancel(t.Context())
	s := notify.New(notify.Config{Store: b.records, Now: func() time.Time { return b.now }, Carrier: carrier(func(ctx context.Context, id string, to notify.Rule, n []notify.Notice) error {
		err := b.carriers.Send(ctx, id, to, n)
		die()
		return errors.Join(err, context.Canceled)
	})})
	if err := s.Round(dying); err == nil {
		t.Fatal("a sender that died noted something")
	}
	b.round(time.Minute)
	if len(b.hook.got) != 1 {
		t.Errorf("it was taken by two: %d deliveries", len(b.hook.got))
	}
	b.round(2 * time.Minute)
	b.round(2 * time.Hour)
	if len(b.hook.got) != 2 || b.hook.got[0].header.Get(notify.DeliveryHeader) != b.hook.got[1].header.Get(notify.DeliveryHeader) {
		t.Errorf("%d deliveries, want two under one id", len(b.hook.got))
	}
}

type carrier func(context.Context, string, notify.Rule, []notify.Notice) error

func (c carrier) Send(ctx context.Context, id string, to notify.Rule, n []notify.Notice) error {
	return c(ctx, id, to, n)
}

func TestDigest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rule := notify.Rule{Email: []string{"ann@example.org"}, On: all, DigestSeconds: 3600}
	b.now = noon.Add(5 * time.Minute)
	for i := range 3 {
		b.record(string(rune('a'+i)), notify.Failure, rule)
	}
	b.record("d", notify.Recovery, rule)
	b.round(50 * time.Minute)
	if n := len(b.post.taken()); n != 0 {
		t.Fatalf("%d letters before the hour is over", n)
	}
	b.round(6 * time.Minute)
	got := b.post.taken()
	if len(got) != 1 || !strings.Contains(string(got[0].data), "Subject: Quire: 3 failed, 1 works again") {
		t.Fatalf("%d letters: %s", len(got), got[0].data)
	}
}

func TestTwoSendersSendOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for i := range 40 {
		b.record(string(rune('A'+i)), notify.Failure, notify.Rule{Channel: "hook", On: all})
	}
	other := notify.New(notify.Config{Store: b.records, Carrier: b.carriers, Now: func() time.Time { return b.now }})
	var wg sync.WaitGroup
	for _, s := range []*notify.Sender{b.sender, other, b.sender, other} {
		wg.Go(func() {
			if err := s.Round(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(b.hook.got) != 40 {
		t.Errorf("%d deliveries of 40 notices", len(b.hook.got))
	}
}

func TestMailWithoutTLSIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.carriers.Mail.Plain = false
	err := b.carriers.Send(t.Context(), "id", notify.Rule{Email: []string{"ann@example.org"}}, []notify.Notice{{Fact: factOf(notify.Failure)}})
	if !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "offers no TLS") {
		t.Errorf("%v", err)
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{"ann@example.org": true, "Ann <ann@example.org>": false, "ann": false, "a@b\r\nBcc: c@d": false, "": false} {
		if _, err := notify.Address(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
