package remote

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"quire/internal/problem"
	"quire/internal/storage"
)

// Web says which folder of a web server to use.
type Web struct {
	Config
	// Base is the URL of the folder; it ends with a slash. A user and password in
	// it are sent as basic authentication; a query is added to every request. Both
	// are left out of every message.
	Base string
	// Header is added to every request to Base's host.
	Header http.Header
}

// maxWebPut bounds what is sent to a web server: it goes in one request, from memory.
const maxWebPut = 1 << 30

// web is the dialect of a plain web server: GET, HEAD, PUT and DELETE, with the
// conditions of HTTP. A server that ignores them can lose the race of two writers
// that both ask for IfNotExist; one that sends no ETag cannot take IfMatch.
type web struct {
	cfg   Web
	base  *url.URL // without user and query
	query string
	user  *url.Userinfo
	calls *caller
}

// OpenWeb returns a store of one folder of a web server. Nothing is sent before
// it is used. Kinds: Invalid for a bad URL.
func OpenWeb(cfg Web) (*Store, error) {
	u, err := url.Parse(cfg.Base)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || !strings.HasSuffix(u.Path, "/") {
		return nil, problem.New(problem.Invalid, "the URL of a web folder is not like https://host/path/")
	}
	cfg.MaxBytes = or(cfg.MaxBytes, defaultMaxBytes)
	d := &web{cfg: cfg, query: u.RawQuery, user: u.User, calls: newCaller(cfg.Config)}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	d.base = u
	d.calls.client.CheckRedirect = d.redirect
	d.calls.authorize = func(_ context.Context, req *http.Request, _ []byte) error {
		if d.user != nil {
			password, _ := d.user.Password()
			req.SetBasicAuth(d.user.Username(), password)
		}
		return nil
	}
	return &Store{dialect: d, calls: d.calls}, nil
}

// redirect follows up to 10, and takes our headers off on the way to another host.
func (d *web) redirect(req *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return problem.New(problem.Invalid, "more than 10 redirects")
	}
	if req.URL.Scheme == "http" && via[0].URL.Scheme == "https" {
		return problem.New(problem.Denied, "the server sends from https to http")
	}
	if req.URL.Host != d.base.Host {
		for name := range d.cfg.Header {
			req.Header.Del(name)
		}
		req.Header.Del("Authorization")
	}
	return nil
}

func (d *web) location(path string) string {
	u := *d.base
	u.Path += path
	u.RawPath = ""
	return u.String()
}

func (d *web) call(method, path string, body []byte) call {
	u := *d.base
	u.RawPath = u.EscapedPath() + escape(path)
	u.Path += path
	u.RawQuery = d.query
	c := call{method: method, url: &u, header: d.cfg.Header.Clone(), body: body}
	if c.header == nil {
		c.header = http.Header{}
	}
	return c
}

func (d *web) read(method, path string) call {
	c := d.call(method, path, nil)
	c.header.Set("Accept", "*/*")
	c.header.Set("Accept-Encoding", "identity")
	return c
}

func (d *web) info(path string, h http.Header, length int64) storage.Info {
	return plainInfo(path, h, length)
}

func (d *web) put(ctx context.Context, path string, data []byte, opt storage.PutOptions) (storage.Info, error) {
	if opt.IfNotExist {
		head, err := d.calls.do(ctx, d.read(http.MethodHead, path))
		if err == nil {
			return storage.Info{}, errors.Join(problem.New(problem.Exists, "it exists already"), drain(head))
		}
		if !isStatus(err, http.StatusNotFound) {
			return storage.Info{}, err
		}
	}
	c := d.call(http.MethodPut, path, data)
	c.header.Set("Content-Type", opt.ContentType)
	conditions(c.header, opt)
	resp, err := d.calls.do(ctx, c)
	if err != nil {
		return storage.Info{}, err
	}
	info := stored(path, int64(len(data)), resp.Header)
	if err := drain(resp); err != nil || info.ETag != "" {
		return info, err
	}
	// Most servers do not say the tag of what they took; the bytes are stored,
	// whatever comes of asking.
	if head, err := d.calls.do(ctx, d.read(http.MethodHead, path)); err == nil {
		info = d.info(path, head.Header, int64(len(data)))
		_ = drain(head)
	}
	return info, nil
}

// upload does not exist: it all goes in one request, which is bounded instead.
func (d *web) upload(context.Context, string, storage.PutOptions) (upload, error) { return nil, nil } //nolint:nilnil // as the interface says

func (d *web) list(context.Context, storage.ListOptions, string) (storage.Page, error) {
	return storage.Page{}, problem.New(problem.Invalid, "a web server's folders cannot be listed")
}

func (d *web) remove(ctx context.Context, path string) error {
	resp, err := d.calls.do(ctx, d.call(http.MethodDelete, path, nil))
	if err != nil {
		return err
	}
	return drain(resp)
}

func (d *web) copy(context.Context, string, string, storage.PutOptions) (storage.Info, error) {
	return storage.Info{}, errNoCopy
}
