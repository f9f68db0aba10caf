package trino

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"quire/internal/problem"
	"quire/internal/query"
)

// Config is what the source needs.
type Config struct {
	DSN string // trino://[user[:password]@]host[:port][/catalog[/schema]][?tls=true&token=...]
}

// Source sends statements to one Trino.
type Source struct {
	http            *http.Client
	base            url.URL
	user            string // that all statements are Trino's user of; "" is the person's own name
	password, token string
	catalog, schema string
}

var _ query.Source = (*Source)(nil)

// New returns a Source. It connects when it is first asked. The caller closes it.
func New(cfg Config) (*Source, error) {
	wrong := problem.New(problem.Invalid, "the DSN is not one of Trino: want trino://user:password@host:port/catalog/schema, ?tls=false without a password")
	u, err := url.Parse(cfg.DSN) // its error repeats the password
	if err != nil || u.Scheme != "trino" || u.Hostname() == "" {
		return nil, wrong
	}
	settings := u.Query()
	s := &Source{base: url.URL{Scheme: "https", Host: u.Host}, token: settings.Get("token")}
	if u.User != nil {
		s.user = u.User.Username()
		s.password, _ = u.User.Password()
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) > 2 {
		return nil, wrong
	}
	s.catalog = parts[0]
	if len(parts) == 2 {
		s.schema = parts[1]
	}
	for name := range settings {
		if name != "tls" && name != "token" {
			return nil, problem.New(problem.Invalid, "the DSN of Trino has a setting that is not known here: want tls or token")
		}
	}
	if settings.Get("tls") == "false" || !settings.Has("tls") && s.password == "" && s.token == "" {
		s.base.Scheme = "http"
	}
	if near := isNear(u.Hostname()); s.base.Scheme == "http" && (s.password != "" || s.token != "") && !near {
		return nil, problem.New(problem.Invalid, "the DSN of Trino has a credential and tls=false: a credential is sent encrypted only")
	}
	if u.Port() == "" {
		s.base.Host = net.JoinHostPort(u.Hostname(), map[string]string{"http": "8080", "https": "443"}[s.base.Scheme])
	}
	s.http = &http.Client{
		Transport: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: 5 * time.Minute,
			ResponseHeaderTimeout: time.Minute, MaxIdleConnsPerHost: 8, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
		},
		// A redirect would take the credential elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

func isNear(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Engine implements query.Source.
func (*Source) Engine() string { return "trino" }

// Close implements query.Source.
func (s *Source) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

// maxAnswer is the longest answer that is read; Trino's are some MiB.
const maxAnswer = 128 << 20

// An answer is one of the protocol: QueryResults.
type answer struct {
	ID      string   `json:"id"`
	NextURI string   `json:"nextUri"`
	Columns []column `json:"columns"`
	Data    [][]json.RawMessage
	Stats   struct {
		State     string   `json:"state"`
		Progress  *float64 `json:"progressPercentage"`
		Completed int64    `json:"completedSplits"`
		Total     int64    `json:"totalSplits"`
	} `json:"stats"`
	Error       *trinoError `json:"error"`
	UpdateType  string      `json:"updateType"`
	UpdateCount *int64      `json:"updateCount"`
}

type trinoError struct {
	Message  string    `json:"message"`
	Name     string    `json:"errorName"`
	Type     string    `json:"errorType"`
	Location *location `json:"errorLocation"`
}

type location struct {
	Line   int `json:"lineNumber"`
	Column int `json:"columnNumber"` // in characters, from 1
}

func (e *trinoError) Error() string { return e.Message }

// Run implements query.Source.
func (s *Source) Run(ctx context.Context, st query.Statement, out query.Output) (query.Outcome, error) {
	b, err := st.Text.Bind(query.Question, st.Values)
	if err != nil {
		return query.Outcome{}, err
	}
	if st.ReadOnly {
		if err := reads(st.Text); err != nil {
			return query.Outcome{}, err
		}
	}
	o, err := s.run(ctx, st.User, st.Tag, b, st.MaxRows, out)
	var known *trinoError
	if errors.As(err, &known) && ctx.Err() == nil {
		return o, st.Text.AtOffset(b, known.offset(b.SQL), failure(known))
	}
	if err != nil && ctx.Err() != nil {
		return o, context.Cause(ctx)
	}
	return o, err
}

// reads says why a statement is not one that only reads: of Trino's grammar
// nothing that begins with these changes anything.
func reads(t query.Text) error {
	switch verb := t.Verb(); verb {
	case "SELECT", "WITH", "VALUES", "TABLE", "SHOW", "DESCRIBE", "DESC", "":
		return nil
	case "EXPLAIN":
		if !t.Has("ANALYZE") { // which executes
			return nil
		}
		return problem.New(problem.Denied, "this connection is read-only: EXPLAIN ANALYZE executes what it explains")
	default:
		return problem.New(problem.Denied, "this connection is read-only: a statement that begins with %s is not executed", verb)
	}
}

// preparedName is the name of a statement in its own request.
const preparedName = "quire"

// run posts a statement and reads its answers to their end.
func (s *Source) run(ctx context.Context, user, tag string, b query.Bound, maxRows int64, out query.Output) (o query.Outcome, err error) {
	header, text := http.Header{}, b.SQL
	if len(b.Values) > 0 {
		literals := make([]string, len(b.Values))
		for i, v := range b.Values {
			if literals[i], err = literal(v); err != nil {
				return o, err
			}
		}
		header.Set("X-Trino-Prepared-Statement", preparedName+"="+url.QueryEscape(b.SQL))
		text = "EXECUTE " + preparedName + " USING " + strings.Join(literals, ", ")
	}
	if tag != "" {
		header.Set("X-Trino-Client-Tags", "quire-"+tag)
	}
	t := &table{out: out, limit: maxRows}
	defer t.release()
	a, err := s.ask(ctx, http.MethodPost, s.base.JoinPath("v1", "statement").String(), user, header, text)
	next := a.NextURI
	// Whatever ends this, Trino goes on with nothing.
	defer func() {
		if next != "" {
			s.stop(ctx, user, next)
		}
	}()
	for {
		switch {
		case err != nil:
			return o, err
		case a.Error != nil:
			next = ""
			return o, a.Error
		}
		if err := t.take(a); err != nil {
			if !errors.Is(err, errEnough) {
				return o, err
			}
			return t.close(a)
		}
		if a.NextURI == "" {
			next = ""
			return t.close(a)
		}
		if next, err = s.own(a.NextURI); err != nil {
			next = ""
			return o, err
		}
		var following answer
		if following, err = s.ask(ctx, http.MethodGet, next, user, http.Header{}, ""); err == nil {
			next = following.NextURI
			if len(following.Columns) == 0 {
				following.Columns = a.Columns
			}
			a = following
		}
	}
}

// own returns an address that the server gave, which is its own: the credential
// is sent to no other.
func (s *Source) own(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != s.base.Scheme && u.Scheme != "http" || !strings.HasPrefix(u.Path, "/v1/") {
		return "", problem.New(problem.Unavailable, "Trino gave an address that is not its own")
	}
	// Behind a proxy it may call itself by another name.
	u.Scheme, u.Host, u.User = s.base.Scheme, s.base.Host, nil
	return u.String(), nil
}

// stop tells Trino to stop, also when ctx has ended.
func (s *Source) stop(ctx context.Context, user, next string) {
	address, err := s.own(next)
	if err != nil {
		return
	}
	ctx, end := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer end()
	r, err := s.request(ctx, http.MethodDelete, address, user, http.Header{}, "")
	if err != nil {
		return
	}
	if res, err := s.http.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
		_ = res.Body.Close()
	}
}

func (s *Source) request(ctx context.Context, method, address, user string, header http.Header, body string) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return nil, problem.New(problem.Unavailable, "Trino gave an address that is none")
	}
	r.Header = header.Clone()
	if s.user != "" {
		user = s.user
	}
	for name, value := range map[string]string{
		"X-Trino-User": user, "X-Trino-Source": "quire", "X-Trino-Catalog": s.catalog, "X-Trino-Schema": s.schema, "X-Trino-Time-Zone": "UTC",
		"User-Agent": "quire", "Accept": "application/json",
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	switch {
	case s.token != "":
		r.Header.Set("Authorization", "Bearer "+s.token)
	case s.password != "":
		r.SetBasicAuth(s.user, s.password)
	}
	return r, nil
}

// The times of asking again where Trino, or what stands before it, is busy.
const (
	againAfter = 100 * time.Millisecond
	againMost  = 30 * time.Second
)

// ask sends one request, and again while the answer is that it is too early.
func (s *Source) ask(ctx context.Context, method, address, user string, header http.Header, body string) (a answer, err error) {
	for began, wait := time.Now(), againAfter; ; wait = min(2*wait, time.Second) {
		var again bool
		a, again, err = s.once(ctx, method, address, user, header, body)
		if !again || time.Since(began) > againMost {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (s *Source) once(ctx context.Context, method, address, user string, header http.Header, body string) (a answer, again bool, err error) {
	r, err := s.request(ctx, method, address, user, header, body)
	if err != nil {
		return a, false, err
	}
	res, err := s.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return a, false, ctx.Err()
		}
		return a, false, errNoAnswer
	}
	defer func() { _ = res.Body.Close() }()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return a, true, problem.New(problem.Unavailable, "Trino is too busy, or is starting (HTTP %d): try again", res.StatusCode)
	case http.StatusUnauthorized, http.StatusForbidden:
		return a, false, problem.New(problem.Denied, "Trino does not accept the credentials of this connection: ask who keeps it")
	case http.StatusNotFound, http.StatusGone:
		return a, false, problem.New(problem.Unavailable, "Trino no longer knows this statement: it was restarted, or is not Trino; run it again")
	case http.StatusBadRequest:
		text, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // what was read says enough
		a.Error = unprepared(string(text))
		return a, false, nil
	default:
		return a, false, problem.New(problem.Unavailable, "Trino answers with HTTP %d", res.StatusCode)
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxAnswer)).Decode(&a); err != nil {
		if ctx.Err() != nil {
			return a, false, ctx.Err()
		}
		return a, false, errNoAnswer
	}
	return a, false, nil
}

var inHeader = regexp.MustCompile(`(?s)line (\d+):(\d+): (.*)`)

// unprepared is the error of a statement that is refused before it is one: with
// values it is in a header, and Trino says in words what is wrong with that.
func unprepared(text string) *trinoError {
	e := &trinoError{Name: "SYNTAX_ERROR", Type: "USER_ERROR", Message: strings.TrimSpace(text)}
	if m := inHeader.FindStringSubmatch(text); m != nil {
		line, _ := strconv.Atoi(m[1])
		character, _ := strconv.Atoi(m[2])
		e.Message, e.Location = m[3], &location{line, character}
	}
	return e
}

var errNoAnswer = problem.New(problem.Unavailable, "Trino does not answer, or the connection to it broke: try again; if it goes on, ask who keeps this connection")

// offset is the byte of the text at which it is wrong; -1 is not known.
func (e *trinoError) offset(text string) int {
	if e.Location == nil || e.Location.Line < 1 {
		return -1
	}
	at := 0
	for range e.Location.Line - 1 {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			return -1
		}
		at += n + 1
	}
	for range e.Location.Column - 1 {
		if at >= len(text) {
			break
		}
		_, n := utf8.DecodeRuneInString(text[at:])
		at += n
	}
	return at
}

var (
	nameKinds = map[string]problem.Kind{
		"TABLE_NOT_FOUND": problem.NotFound, "SCHEMA_NOT_FOUND": problem.NotFound, "CATALOG_NOT_FOUND": problem.NotFound, "NOT_FOUND": problem.NotFound,
		"TABLE_ALREADY_EXISTS": problem.Exists, "SCHEMA_ALREADY_EXISTS": problem.Exists, "ALREADY_EXISTS": problem.Exists,
		"PERMISSION_DENIED": problem.Denied, "READ_ONLY_VIOLATION": problem.Denied, "USER_CANCELED": problem.Canceled,
		"EXCEEDED_TIME_LIMIT": problem.Timeout, "EXCEEDED_CPU_LIMIT": problem.TooLarge, "EXCEEDED_SCAN_LIMIT": problem.TooLarge,
		"EXCEEDED_LOCAL_MEMORY_LIMIT": problem.TooLarge, "EXCEEDED_GLOBAL_MEMORY_LIMIT": problem.TooLarge, "TRANSACTION_CONFLICT": problem.Conflict,
	}
	typeKinds  = map[string]problem.Kind{"USER_ERROR": problem.Invalid, "INSUFFICIENT_RESOURCES": problem.TooLarge}
	lineBefore = regexp.MustCompile(`^line \d+:\d+: `)
)

// failure is an error of Trino as ours.
func failure(e *trinoError) error {
	kind, ok := nameKinds[e.Name]
	if !ok {
		if kind, ok = typeKinds[e.Type]; !ok {
			kind = problem.Unavailable
		}
	}
	text := strings.Join(strings.Fields(lineBefore.ReplaceAllString(e.Message, "")), " ")
	switch {
	case kind == problem.Canceled:
		text = "Trino stopped the statement"
	case text == "":
		text = e.Name
	}
	return problem.New(kind, "%s", text)
}

var plainNumber = regexp.MustCompile(`^-?[0-9]+$`)

// literal writes a value as a literal of Trino's SQL. A text has no escapes but
// the doubled quote; all else has a form that was checked, and is written anew.
func literal(v query.Value) (string, error) {
	quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	switch v.Type {
	case query.Null:
		return "NULL", nil
	case query.Bool:
		return strconv.FormatBool(v.Text == "true"), nil
	case query.Int:
		if _, err := strconv.ParseInt(v.Text, 10, 64); err == nil {
			return "(" + v.Text + ")", nil
		}
		if plainNumber.MatchString(v.Text) {
			return "DECIMAL " + quoted(v.Text), nil
		}
	case query.Float:
		f, err := strconv.ParseFloat(v.Text, 64)
		if err == nil {
			return "DOUBLE " + quoted(strconv.FormatFloat(f, 'E', -1, 64)), nil
		}
	case query.Decimal:
		return "DECIMAL " + quoted(v.Text), nil
	case query.Date:
		return "DATE " + quoted(v.Text), nil
	case query.Timestamp:
		t, zoned, err := v.Time()
		if err != nil {
			return "", err
		}
		if zoned {
			return "TIMESTAMP " + quoted(t.UTC().Format("2006-01-02 15:04:05.999999")+" UTC"), nil
		}
		return "TIMESTAMP " + quoted(t.Format("2006-01-02 15:04:05.999999")), nil
	case query.Bytes:
		return "from_base64(" + quoted(v.Text) + ")", nil
	case query.String:
		return quoted(v.Text), nil
	case query.List:
	}
	return "", problem.New(problem.Invalid, "%q is no value that Trino takes", v.Text)
}
