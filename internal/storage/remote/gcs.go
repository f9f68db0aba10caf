package remote

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"quire/internal/problem"
	"quire/internal/storage"
)

// GCS says which bucket of Google Cloud Storage to use, and how to reach it.
type GCS struct {
	Config
	// Bucket is the name of the bucket. It must exist.
	Bucket string
	// Endpoint is the URL of a service other than Google's, such as an emulator's;
	// it is asked without credentials. Empty means Google.
	Endpoint string
	// Tokens gives the credentials. When it is nil they are the application default
	// credentials (GOOGLE_APPLICATION_CREDENTIALS, gcloud's, the machine's); when
	// there are none, requests are sent without.
	Tokens oauth2.TokenSource
}

// gcs is the dialect of Google Cloud Storage's JSON API. An object's generation is
// its ETag here: it is what the conditions of that API take.
type gcs struct {
	cfg   GCS
	calls *caller
	base  string

	once   sync.Once
	tokens oauth2.TokenSource // nil: none
	err    error
}

const gcsScope = "https://www.googleapis.com/auth/devstorage.read_write"

// OpenGCS returns a store of one bucket. Nothing is sent before the store is used.
// Kinds: Invalid for a bad bucket name or endpoint.
func OpenGCS(cfg GCS) (*Store, error) {
	if err := validBucket(cfg.Bucket); err != nil {
		return nil, err
	}
	d := &gcs{cfg: cfg, base: "https://storage.googleapis.com", calls: newCaller(cfg.Config)}
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
			return nil, problem.New(problem.Invalid, "the endpoint of Google Cloud Storage is not a URL like https://host:port")
		}
		d.base = strings.TrimSuffix(cfg.Endpoint, "/")
	}
	d.calls.authorize = d.sign
	d.calls.explain = explainJSON
	return &Store{dialect: d, calls: d.calls}, nil
}

// sign adds a bearer token. Where they come from is looked up once, at first use.
func (d *gcs) sign(_ context.Context, req *http.Request, _ []byte) error {
	d.once.Do(func() {
		d.tokens = d.cfg.Tokens
		if d.tokens != nil || d.cfg.Endpoint != "" {
			return
		}
		// The tokens are renewed for as long as the store lives, not for one request.
		ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Timeout: d.calls.cfg.Stall})
		found, err := google.FindDefaultCredentials(ctx, gcsScope)
		if err == nil {
			d.tokens = found.TokenSource
		} else if !strings.Contains(err.Error(), "could not find default credentials") {
			d.err = problem.WrapAs(problem.Denied, err, "finding the credentials for Google Cloud Storage")
		}
	})
	if d.err != nil || d.tokens == nil {
		return d.err
	}
	token, err := d.tokens.Token()
	if err != nil {
		return problem.New(problem.Denied, "the credentials for Google Cloud Storage could not be had: %s", clean(bare(err).Error()))
	}
	token.SetAuthHeader(req)
	return nil
}

func (d *gcs) location(path string) string { return "gs://" + d.cfg.Bucket + "/" + path }

func (d *gcs) url(prefix, path string, query url.Values) *url.URL {
	raw := d.base + prefix + "/storage/v1/b/" + d.cfg.Bucket + "/o"
	if path != "" {
		raw += "/" + escapeAll(path)
	}
	if len(query) > 0 {
		raw += "?" + query.Encode()
	}
	u, err := url.Parse(raw)
	if err != nil { // made of parts that are all checked or escaped
		panic(err)
	}
	return u
}

// escapeAll is escape with the slashes too: an object's name is one part of the path.
func escapeAll(path string) string { return strings.ReplaceAll(escape(path), "/", "%2F") }

func (d *gcs) read(method, path string) call {
	if method == http.MethodHead {
		return call{method: http.MethodGet, url: d.url("", path, nil)}
	}
	return call{method: method, url: d.url("", path, url.Values{"alt": {"media"}}), header: http.Header{}}
}

func (d *gcs) info(path string, h http.Header, length int64) storage.Info {
	info := plainInfo(path, h, length)
	info.ETag = h.Get("X-Goog-Generation")
	return info
}

// gcsObject is the resource that describes an object.
type gcsObject struct {
	Name        string    `json:"name"`
	Size        string    `json:"size"`
	Generation  string    `json:"generation"`
	ContentType string    `json:"contentType"`
	Updated     time.Time `json:"updated"`
}

func (o gcsObject) info() storage.Info {
	size, err := strconv.ParseInt(o.Size, 10, 64)
	if err != nil {
		size = -1
	}
	return storage.Info{Path: o.Name, Size: size, ETag: o.Generation, ContentType: o.ContentType, ModTime: o.Updated.UTC()}
}

// ask sends c and reads the JSON of its answer into out, unless out is nil.
func (d *gcs) ask(ctx context.Context, c call, out any) (http.Header, error) {
	h, body, err := d.calls.small(ctx, c)
	if err != nil || out == nil {
		return h, err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return nil, problem.New(problem.Unavailable, "the answer cannot be read: %v", err)
	}
	return h, nil
}

// describe implements describer: this API describes in JSON, not in headers.
func (d *gcs) describe(ctx context.Context, path string) (storage.Info, error) {
	var o gcsObject
	_, err := d.ask(ctx, call{method: http.MethodGet, url: d.url("", path, nil)}, &o)
	return o.info(), err
}

// gcsConditions puts opt into a query. A tag that is no generation matches nothing.
func gcsConditions(q url.Values, opt storage.PutOptions) error {
	if opt.IfNotExist {
		q.Set("ifGenerationMatch", "0")
	}
	if opt.IfMatch != "" {
		if n, err := strconv.ParseInt(opt.IfMatch, 10, 64); err != nil || n <= 0 {
			return problem.New(problem.Conflict, "it changed since it was read")
		}
		q.Set("ifGenerationMatch", opt.IfMatch)
	}
	return nil
}

func (d *gcs) put(ctx context.Context, path string, data []byte, opt storage.PutOptions) (storage.Info, error) {
	q := url.Values{"uploadType": {"media"}, "name": {path}}
	if err := gcsConditions(q, opt); err != nil {
		return storage.Info{}, err
	}
	c := call{method: http.MethodPost, url: d.url("/upload", "", q), header: http.Header{}, body: data}
	c.header.Set("Content-Type", opt.ContentType)
	var o gcsObject
	_, err := d.ask(ctx, c, &o)
	return o.info(), err
}

func (d *gcs) remove(ctx context.Context, path string) error {
	_, err := d.ask(ctx, call{method: http.MethodDelete, url: d.url("", path, nil)}, nil)
	return err
}

func (d *gcs) copy(ctx context.Context, dst, src string, opt storage.PutOptions) (storage.Info, error) {
	if opt != (storage.PutOptions{}) {
		return storage.Info{}, errNoCopy // through Put, whose conditions are tested against a server
	}
	q := url.Values{}
	to := "/rewriteTo/b/" + d.cfg.Bucket + "/o/" + escapeAll(dst)
	for range 10_000 { // a large object is copied in steps, each with a token
		u, err := url.Parse(d.url("", src, nil).String() + to + "?" + q.Encode())
		if err != nil {
			return storage.Info{}, err
		}
		var out struct {
			Done         bool      `json:"done"`
			RewriteToken string    `json:"rewriteToken"`
			Resource     gcsObject `json:"resource"`
		}
		if _, err := d.ask(ctx, call{method: http.MethodPost, url: u, body: []byte{}}, &out); err != nil {
			return storage.Info{}, err
		}
		if out.Done {
			return out.Resource.info(), nil
		}
		q.Set("rewriteToken", out.RewriteToken)
	}
	return storage.Info{}, problem.New(problem.Unavailable, "the copy does not end")
}

func (d *gcs) list(ctx context.Context, opt storage.ListOptions, token string) (storage.Page, error) {
	q := url.Values{"prefix": {opt.Prefix}, "maxResults": {strconv.Itoa(opt.PageSize())}}
	if !opt.Recursive {
		q.Set("delimiter", "/")
	}
	if token != "" {
		q.Set("pageToken", token)
	}
	var out struct {
		NextPageToken string      `json:"nextPageToken"`
		Prefixes      []string    `json:"prefixes"`
		Items         []gcsObject `json:"items"`
	}
	if _, err := d.ask(ctx, call{method: http.MethodGet, url: d.url("", "", q)}, &out); err != nil {
		return storage.Page{}, err
	}
	page := storage.Page{Next: out.NextPageToken}
	for _, o := range out.Items {
		page.Entries = append(page.Entries, storage.Entry{Info: o.info()})
	}
	for _, p := range out.Prefixes {
		page.Entries = append(page.Entries, storage.Entry{Info: storage.Info{Path: strings.TrimSuffix(p, "/")}, Dir: true})
	}
	return page, nil
}

// gcsUpload is a resumable upload.
type gcsUpload struct {
	d       *gcs
	session *url.URL
	sent    int64
	object  gcsObject // after the last part
}

func (d *gcs) upload(ctx context.Context, path string, opt storage.PutOptions) (upload, error) {
	q := url.Values{"uploadType": {"resumable"}, "name": {path}}
	if err := gcsConditions(q, opt); err != nil {
		return nil, err
	}
	c := call{method: http.MethodPost, url: d.url("/upload", "", q), header: http.Header{}, body: []byte{}}
	c.header.Set("X-Upload-Content-Type", opt.ContentType)
	h, err := d.ask(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	session, err := url.Parse(h.Get("Location"))
	base, _ := url.Parse(d.base)
	// The credentials go to where the service says: that must be the service.
	if err != nil || session.Host != base.Host || session.Scheme != base.Scheme {
		return nil, problem.New(problem.Unavailable, "the answer to the beginning of an upload cannot be used")
	}
	return &gcsUpload{d: d, session: session}, nil
}

// part sends the bytes at sent. The service may keep fewer than it was sent: then
// its Range says how many, and the rest is sent again.
func (u *gcsUpload) part(ctx context.Context, _ int, data []byte, last bool) error {
	for start := u.sent; ; {
		rest := data[u.sent-start:]
		total := "*"
		if last {
			total = strconv.FormatInt(start+int64(len(data)), 10)
		}
		c := call{method: http.MethodPut, url: u.session, header: http.Header{}, body: rest}
		c.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", u.sent, u.sent+int64(len(rest))-1, total))
		_, body, err := u.d.calls.small(ctx, c)
		if last && err == nil {
			return json.Unmarshal(body, &u.object)
		}
		kept, ok := keptBytes(err)
		if !ok || kept <= u.sent || kept > start+int64(len(data)) {
			if err == nil {
				err = problem.New(problem.Unavailable, "the upload ended before its last part")
			}
			return err
		}
		u.sent = kept
		if kept == start+int64(len(data)) && !last {
			return nil
		}
	}
}

// keptBytes reads "308, Range: bytes=0-N", the answer to all but the last part.
func keptBytes(err error) (int64, bool) {
	if !isStatus(err, http.StatusPermanentRedirect) {
		return 0, false
	}
	_, end, ok := strings.Cut(headerOf(err).Get("Range"), "-")
	n, parseErr := strconv.ParseInt(end, 10, 64)
	return n + 1, ok && parseErr == nil
}

func (u *gcsUpload) finish(context.Context) (storage.Info, error) { return u.object.info(), nil }

func (u *gcsUpload) abort(ctx context.Context) error {
	_, _, err := u.d.calls.small(ctx, call{method: http.MethodDelete, url: u.session})
	if isStatus(err, 499) { // "client closed request": this service's way to say done
		return nil
	}
	return err
}

// explainJSON reads {"error": {"message": "...", "errors": [{"reason": "..."}]}}.
func explainJSON(body []byte) (code, message string) {
	var e struct {
		Error struct {
			Message string `json:"message"`
			Errors  []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil {
		return "", ""
	}
	if len(e.Error.Errors) > 0 {
		code = e.Error.Errors[0].Reason
	}
	return code, e.Error.Message
}
