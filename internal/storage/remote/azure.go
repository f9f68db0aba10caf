package remote

import (
	"context"
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"quire/internal/problem"
	"quire/internal/storage"
)

// Azure says which container of Azure Blob Storage to use, and how to reach it.
type Azure struct {
	Config
	// Account is the name of the storage account.
	Account string
	// Container is the name of the container. It must exist.
	Container string
	// Endpoint is the URL that containers are found below; empty means
	// https://ACCOUNT.blob.core.windows.net.
	Endpoint string
	// Key is the account's key, in base64.
	Key string
	// SAS is a shared access signature, a query without its question mark. It is
	// used when Key is empty.
	SAS string
	// Token gives a bearer token for https://storage.azure.com/; it is asked when
	// Key and SAS are empty. When it is nil too, requests are sent without
	// credentials.
	Token func(ctx context.Context) (string, error)
}

// azureVersion is the version of the API that is spoken.
const azureVersion = "2021-12-02"

// azure is the dialect of Azure Blob Storage.
type azure struct {
	cfg   Azure
	calls *caller
	base  *url.URL
	key   []byte
	sas   url.Values
}

// OpenAzure returns a store of one container. Nothing is sent before the store is
// used. Kinds: Invalid for a bad name, endpoint, key or signature.
func OpenAzure(cfg Azure) (*Store, error) {
	if err := validBucket(cfg.Container); err != nil {
		return nil, err
	}
	if cfg.Endpoint == "" {
		if err := validBucket(cfg.Account); err != nil || strings.Contains(cfg.Account, ".") {
			return nil, problem.New(problem.Invalid, "storage account %.80q: want 3 to 24 letters and digits (AZURE_STORAGE_ACCOUNT names it)", cfg.Account)
		}
		cfg.Endpoint = "https://" + cfg.Account + ".blob.core.windows.net"
	}
	u, err := url.Parse(cfg.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
		return nil, problem.New(problem.Invalid, "the endpoint of Azure Blob Storage is not a URL like https://account.host")
	}
	d := &azure{cfg: cfg, base: u, calls: newCaller(cfg.Config)}
	if d.key, err = base64.StdEncoding.DecodeString(cfg.Key); err != nil {
		return nil, problem.New(problem.Invalid, "the storage account's key is not base64")
	}
	if d.sas, err = url.ParseQuery(strings.TrimPrefix(cfg.SAS, "?")); err != nil {
		return nil, problem.New(problem.Invalid, "the shared access signature is not a query")
	}
	d.calls.authorize = d.sign
	d.calls.explain = explainXML
	return &Store{dialect: d, calls: d.calls}, nil
}

func (d *azure) location(path string) string { return "az://" + d.cfg.Container + "/" + path }

func (d *azure) url(path string, query url.Values) *url.URL {
	u := *d.base
	u.Path = strings.TrimSuffix(u.Path, "/") + "/" + d.cfg.Container
	if path != "" {
		u.Path += "/" + path
	}
	u.RawPath = escape(u.Path)
	if len(d.key) == 0 && len(d.sas) > 0 {
		both := url.Values{}
		for _, q := range []url.Values{query, d.sas} {
			for name, values := range q {
				both[name] = values
			}
		}
		query = both
	}
	u.RawQuery = query.Encode()
	return &u
}

func (d *azure) read(method, path string) call {
	return call{method: method, url: d.url(path, nil), header: http.Header{}}
}

func (d *azure) info(path string, h http.Header, length int64) storage.Info {
	return plainInfo(path, h, length)
}

func (d *azure) put(ctx context.Context, path string, data []byte, opt storage.PutOptions) (storage.Info, error) {
	c := call{method: http.MethodPut, url: d.url(path, nil), header: http.Header{}, body: data}
	c.header.Set("Content-Type", opt.ContentType)
	c.header.Set("Content-Md5", md5Base64(data))
	c.header.Set("X-Ms-Blob-Type", "BlockBlob")
	conditions(c.header, opt)
	h, _, err := d.calls.small(ctx, c)
	return stored(path, int64(len(data)), h), err
}

func (d *azure) remove(ctx context.Context, path string) error {
	c := call{method: http.MethodDelete, url: d.url(path, nil), header: http.Header{}}
	c.header.Set("X-Ms-Delete-Snapshots", "include")
	_, _, err := d.calls.small(ctx, c)
	return err
}

// copy goes through this process: the service's own copy may end later than its
// answer, and then fail.
func (d *azure) copy(context.Context, string, string, storage.PutOptions) (storage.Info, error) {
	return storage.Info{}, errNoCopy
}

func (d *azure) list(ctx context.Context, opt storage.ListOptions, token string) (storage.Page, error) {
	q := url.Values{
		"restype": {"container"}, "comp": {"list"},
		"prefix": {opt.Prefix}, "maxresults": {strconv.Itoa(opt.PageSize())},
	}
	if !opt.Recursive {
		q.Set("delimiter", "/")
	}
	if token != "" {
		q.Set("marker", token)
	}
	_, body, err := d.calls.small(ctx, call{method: http.MethodGet, url: d.url("", q), header: http.Header{}})
	if err != nil {
		return storage.Page{}, err
	}
	var out struct {
		NextMarker string
		Blobs      struct {
			Blob []struct {
				Name       string
				Properties struct {
					LastModified  string `xml:"Last-Modified"`
					Etag          string
					ContentLength int64  `xml:"Content-Length"`
					ContentType   string `xml:"Content-Type"`
				}
			}
			BlobPrefix []struct{ Name string }
		}
	}
	if err := xml.Unmarshal(body, &out); err != nil {
		return storage.Page{}, problem.New(problem.Unavailable, "the listing cannot be read: %v", err)
	}
	page := storage.Page{Next: out.NextMarker}
	for _, b := range out.Blobs.Blob {
		modified, _ := http.ParseTime(b.Properties.LastModified) // zero when it is not one
		page.Entries = append(page.Entries, storage.Entry{Info: storage.Info{
			Path: b.Name, Size: b.Properties.ContentLength, ETag: etag(b.Properties.Etag),
			ModTime: modified.UTC(), ContentType: b.Properties.ContentType,
		}})
	}
	for _, p := range out.Blobs.BlobPrefix {
		page.Entries = append(page.Entries, storage.Entry{Info: storage.Info{Path: strings.TrimSuffix(p.Name, "/")}, Dir: true})
	}
	return page, nil
}

// azureUpload is a list of blocks that are committed together.
type azureUpload struct {
	d    *azure
	path string
	opt  storage.PutOptions
	mark string // begins this upload's block names, so that two uploads do not mix
	ids  []string
}

func (d *azure) upload(_ context.Context, path string, opt storage.PutOptions) (upload, error) {
	return &azureUpload{d: d, path: path, opt: opt, mark: strconv.FormatInt(time.Now().UnixNano(), 36)}, nil
}

func (u *azureUpload) part(ctx context.Context, number int, data []byte, _ bool) error {
	id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%16s-%08d", u.mark, number))
	q := url.Values{"comp": {"block"}, "blockid": {id}}
	c := call{method: http.MethodPut, url: u.d.url(u.path, q), header: http.Header{}, body: data}
	c.header.Set("Content-Md5", md5Base64(data))
	if _, _, err := u.d.calls.small(ctx, c); err != nil {
		return err
	}
	u.ids = append(u.ids, id)
	return nil
}

func (u *azureUpload) finish(ctx context.Context) (storage.Info, error) {
	var list struct {
		XMLName xml.Name `xml:"BlockList"`
		Latest  []string
	}
	list.Latest = u.ids
	body, err := xml.Marshal(list)
	if err != nil {
		return storage.Info{}, err
	}
	c := call{method: http.MethodPut, url: u.d.url(u.path, url.Values{"comp": {"blocklist"}}), header: http.Header{}, body: body}
	c.header.Set("Content-Type", "application/xml")
	c.header.Set("X-Ms-Blob-Content-Type", u.opt.ContentType)
	conditions(c.header, u.opt)
	h, _, err := u.d.calls.small(ctx, c)
	return stored(u.path, 0, h), err
}

// abort does nothing: the service itself drops blocks that were not committed,
// after a week.
func (u *azureUpload) abort(context.Context) error { return nil }
