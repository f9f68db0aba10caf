package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"quire/internal/problem"
)

// Config is what all services have in common. The zero value is fine.
type Config struct {
	// Attempts is how often a request is sent at most, 1 to 20; 0 means 5. Sent
	// again is what got no answer, or 408, 429, 500, 502, 503 or 504.
	Attempts int
	// Backoff is the longest wait before the second attempt; it doubles with each
	// further one, up to MaxBackoff. The wait is random, from 0 to that. 0 means
	// 200 ms. A Retry-After of the service is kept, up to MaxBackoff.
	Backoff time.Duration
	// MaxBackoff bounds each wait; 0 means 10 s.
	MaxBackoff time.Duration
	// Stall is how long a connection, an answer or the next bytes of it may take;
	// 0 means 60 s. Connecting alone may take 10 s at most.
	Stall time.Duration
	// MaxBytes is the largest file that Put and Get accept; 0 means 64 GiB.
	MaxBytes int64
	// PartBytes is the size of the parts in which a larger file is sent, and so
	// the memory that one Put takes; 5 MiB or more, a multiple of 256 KiB; 0 means
	// 8 MiB. After every 1,000 parts it doubles.
	PartBytes int
	// Transport sends the requests; nil means one of this store's own, which
	// takes a proxy from the environment.
	Transport http.RoundTripper
}

const (
	defaultMaxBytes  = 64 << 30
	defaultPartBytes = 8 << 20
	connectTimeout   = 10 * time.Second
	maxErrorBytes    = 64 << 10
)

func (c Config) withDefaults() Config {
	c.Attempts = or(min(c.Attempts, 20), 5)
	c.Backoff = or(c.Backoff, 200*time.Millisecond)
	c.MaxBackoff = or(c.MaxBackoff, 10*time.Second)
	c.Stall = or(c.Stall, time.Minute)
	c.MaxBytes = or(c.MaxBytes, defaultMaxBytes)
	c.PartBytes = or(c.PartBytes, defaultPartBytes)
	return c
}

func or[T int | int64 | time.Duration](v, byDefault T) T {
	if v <= 0 {
		return byDefault
	}
	return v
}

// caller sends requests: again when that may help, signed each time.
type caller struct {
	cfg    Config
	client *http.Client
	// authorize adds the credentials to one attempt. body is what will be sent.
	authorize func(ctx context.Context, req *http.Request, body []byte) error
	// explain reads the service's code and message from the body of an error.
	explain func(body []byte) (code, message string)
}

func newCaller(cfg Config) *caller {
	cfg = cfg.withDefaults()
	transport := cfg.Transport
	if transport == nil {
		transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: min(connectTimeout, cfg.Stall)}).DialContext,
			TLSHandshakeTimeout:   min(connectTimeout, cfg.Stall),
			ResponseHeaderTimeout: cfg.Stall,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConnsPerHost:   16,
			ForceAttemptHTTP2:     true,
			DisableCompression:    true, // sizes and ranges are those of the stored bytes
		}
	}
	return &caller{
		cfg: cfg,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		authorize: func(context.Context, *http.Request, []byte) error { return nil },
		explain:   func([]byte) (string, string) { return "", "" },
	}
}

// call is one request. The zero header and body are fine.
type call struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
}

// statusError is an answer of 300 or more.
type statusError struct {
	status  int
	code    string // the service's own name of the error; may be empty
	message string // for a person; may be empty
	header  http.Header
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("the server answered %d %s", e.status, http.StatusText(e.status))
	if e.code != "" {
		text += ", " + e.code
	}
	if e.message != "" {
		text += ": " + e.message
	}
	return text
}

// do sends c until it is answered for good. An answer below 300 comes back with
// its body open; any other is a *statusError.
func (k *caller) do(ctx context.Context, c call) (*http.Response, error) {
	var err error
	for attempt := 1; ; attempt++ {
		var resp *http.Response
		resp, err = k.once(ctx, c)
		if err == nil {
			return resp, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if !mayHelp(err) {
			return nil, err
		}
		if attempt >= k.cfg.Attempts {
			return nil, fmt.Errorf("after %d attempts: %w", attempt, err)
		}
		if err := k.wait(ctx, attempt, err); err != nil {
			return nil, err
		}
	}
}

func (k *caller) once(ctx context.Context, c call) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url.String(), bytes.NewReader(c.body))
	if err != nil {
		return nil, problem.New(problem.Invalid, "the URL cannot be used: %v", bare(err))
	}
	if c.body == nil {
		req.Body, req.GetBody, req.ContentLength = http.NoBody, nil, 0
	}
	for name, values := range c.header {
		req.Header[name] = values
	}
	if err := k.authorize(ctx, req, c.body); err != nil {
		return nil, err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, bare(err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	return nil, k.failed(resp)
}

// failed reads an error's body, bounded, and closes it.
func (k *caller) failed(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBytes)) // only explains
	_ = resp.Body.Close()
	code, message := k.explain(body)
	return &statusError{status: resp.StatusCode, code: clean(code), message: clean(message), header: resp.Header}
}

// clean makes a stranger's text fit for one line of a terminal.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "..."
	}
	return strings.TrimSpace(s)
}

// bare takes the URL off an error of net/http: it may hold a signature.
func bare(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// mayHelp says whether sending again can change the answer.
func mayHelp(err error) bool {
	var status *statusError
	if errors.As(err, &status) {
		switch status.status {
		case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
			return true
		}
		// S3: two conditional writers met; the loser is to try again.
		return status.code == "ConditionalRequestConflict"
	}
	var known *problem.Error
	if errors.As(err, &known) {
		return known.Kind == problem.Unavailable
	}
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return false
	}
	return !isCertificateError(err)
}

func (k *caller) wait(ctx context.Context, attempt int, cause error) error {
	most := min(k.cfg.Backoff<<(attempt-1), k.cfg.MaxBackoff)
	d := time.Duration(rand.Int64N(int64(most) + 1))
	var status *statusError
	if errors.As(cause, &status) {
		if s, err := strconv.Atoi(status.header.Get("Retry-After")); err == nil && s > 0 {
			d = min(time.Duration(s)*time.Second, k.cfg.MaxBackoff)
		}
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// drain reads what is left of a small body, so that its connection is used again.
func drain(resp *http.Response) error {
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBytes)) // the answer is known already
	return resp.Body.Close()
}

// small sends c and reads all of its answer, bounded: a page of 1,000 names takes
// less than 2 MB.
func (k *caller) small(ctx context.Context, c call) (http.Header, []byte, error) {
	resp, err := k.do(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	const most = 16 << 20
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	if err != nil {
		return nil, nil, fmt.Errorf("reading the answer: %w", err)
	}
	return resp.Header, body, nil
}
