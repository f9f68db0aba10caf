package remote

import (
	"context"
	"crypto/md5" //nolint:gosec // S3's own check of what arrived, not a secret
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/minio/minio-go/v7/pkg/signer"

	"quire/internal/problem"
	"quire/internal/storage"
)

// S3 says which bucket to use, and how to reach it.
type S3 struct {
	Config
	// Bucket is the name of the bucket. It must exist.
	Bucket string
	// Endpoint is the URL of a service other than Amazon's, such as
	// "http://127.0.0.1:7070"; buckets are then the first part of the path. Empty
	// means Amazon.
	Endpoint string
	// Region is where the bucket is; empty asks Amazon, and means us-east-1 at
	// another endpoint.
	Region string
	// AccessKey, SecretKey and SessionToken are the credentials. When AccessKey is
	// empty they come from the environment (AWS_ACCESS_KEY_ID, ...), the shared
	// credentials file, or the machine's, container's or pod's role; when there
	// are none, requests are sent without.
	AccessKey    string
	SecretKey    string
	SessionToken string
}

// s3 is the dialect of Amazon S3.
type s3 struct {
	cfg   S3
	calls *caller
	creds *credentials.Credentials
	base  *url.URL // of a custom endpoint; nil for Amazon

	mu     sync.Mutex
	region string // empty until it is known
}

// OpenS3 returns a store of one bucket. Nothing is sent before the store is used.
// Kinds: Invalid for a bad bucket name or endpoint.
func OpenS3(cfg S3) (*Store, error) {
	if err := validBucket(cfg.Bucket); err != nil {
		return nil, err
	}
	d := &s3{cfg: cfg, region: cfg.Region, calls: newCaller(cfg.Config)}
	if cfg.Endpoint != "" {
		u, err := url.Parse(cfg.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.User != nil {
			return nil, problem.New(problem.Invalid, "the S3 endpoint is not a URL like https://host:port")
		}
		d.base = u
		d.region = orString(d.region, "us-east-1")
	}
	d.creds = s3Credentials(cfg)
	d.calls.authorize = d.sign
	d.calls.explain = explainXML
	return &Store{dialect: d, calls: d.calls}, nil
}

func orString(v, byDefault string) string {
	if v == "" {
		return byDefault
	}
	return v
}

// validBucket keeps a bucket from becoming another part of a URL.
func validBucket(name string) error {
	ok := len(name) >= 3 && len(name) <= 255 && !strings.Contains(name, "..") && name[0] != '.' && name[0] != '-'
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-._$", r))
	}
	if !ok {
		return problem.New(problem.Invalid, "bucket %.80q: want 3 to 255 letters, digits, dots, dashes", name)
	}
	return nil
}

func (d *s3) location(path string) string { return "s3://" + d.cfg.Bucket + "/" + path }

// url returns the address of an object, or with an empty path of the bucket.
func (d *s3) url(path string, query url.Values) *url.URL {
	u := url.URL{Scheme: "https"}
	switch {
	case d.base != nil:
		u = *d.base
		u.Path = strings.TrimSuffix(u.Path, "/") + "/" + d.cfg.Bucket + "/" + path
	case strings.Contains(d.cfg.Bucket, "."):
		u.Host, u.Path = d.host(), "/"+d.cfg.Bucket+"/"+path
	default:
		u.Host, u.Path = d.cfg.Bucket+"."+d.host(), "/"+path
	}
	u.RawPath = escape(u.Path)
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return &u
}

func (d *s3) host() string {
	region := d.knownRegion()
	suffix := ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		suffix += ".cn"
	}
	if region == "" {
		return "s3" + suffix
	}
	return "s3." + region + suffix
}

// escape encodes a path as S3 signs it: all but letters, digits and -._~/.
func escape(path string) string {
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		const digits = "0123456789ABCDEF"
		b.Write([]byte{'%', digits[c>>4], digits[c&15]})
	}
	return b.String()
}

// sign adds Signature Version 4, or nothing when there are no credentials.
func (d *s3) sign(ctx context.Context, req *http.Request, body []byte) error {
	value, err := d.creds.GetWithContext(&credentials.CredContext{Client: d.calls.client})
	if err != nil {
		return problem.New(problem.Denied, "the credentials for S3 could not be had: %v", bare(err))
	}
	if value.AccessKeyID == "" {
		return nil
	}
	region := d.knownRegion()
	if region == "" {
		if region, err = d.askRegion(ctx); err != nil {
			return err
		}
		req.URL.Host = strings.Replace(req.URL.Host, "s3.amazonaws.com", d.host(), 1)
		req.Host = req.URL.Host
	}
	sum := sha256.Sum256(body)
	req.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	signed := signer.SignV4(*req, value.AccessKeyID, value.SecretAccessKey, value.SessionToken, region)
	req.Header = signed.Header
	return nil
}

func (d *s3) knownRegion() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.region
}

// askRegion learns from Amazon where the bucket is: every answer says so, an
// error too.
func (d *s3) askRegion(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, "https://s3.amazonaws.com/"+d.cfg.Bucket, http.NoBody)
	if err != nil {
		return "", err
	}
	resp, err := d.calls.client.Do(req)
	if err != nil {
		return "", bare(err)
	}
	region := resp.Header.Get("X-Amz-Bucket-Region")
	if err := drain(resp); err != nil {
		return "", err
	}
	if resp.StatusCode == http.StatusNotFound {
		return "", &statusError{status: resp.StatusCode, code: "NoSuchBucket"}
	}
	region = orString(region, "us-east-1")
	d.mu.Lock()
	defer d.mu.Unlock()
	d.region = region
	return region, nil
}

func (d *s3) read(method, path string) call { return call{method: method, url: d.url(path, nil)} }

func (d *s3) info(path string, h http.Header, length int64) storage.Info {
	return plainInfo(path, h, length)
}

func (d *s3) put(ctx context.Context, path string, data []byte, opt storage.PutOptions) (storage.Info, error) {
	c := call{method: http.MethodPut, url: d.url(path, nil), header: http.Header{}, body: data}
	c.header.Set("Content-Type", opt.ContentType)
	c.header.Set("Content-Md5", md5Base64(data))
	conditions(c.header, opt)
	h, _, err := d.calls.small(ctx, c)
	return stored(path, int64(len(data)), h), err
}

func md5Base64(data []byte) string {
	sum := md5.Sum(data) //nolint:gosec // as above
	return base64.StdEncoding.EncodeToString(sum[:])
}

func (d *s3) remove(ctx context.Context, path string) error {
	_, _, err := d.calls.small(ctx, call{method: http.MethodDelete, url: d.url(path, nil)})
	return err
}

// s3Time is how S3 writes a time in XML.
func s3Time(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

func (d *s3) copy(ctx context.Context, dst, src string, opt storage.PutOptions) (storage.Info, error) {
	if opt != (storage.PutOptions{}) {
		return storage.Info{}, errNoCopy // not every service knows conditions here
	}
	c := call{method: http.MethodPut, url: d.url(dst, nil), header: http.Header{}}
	c.header.Set("X-Amz-Copy-Source", escape("/"+d.cfg.Bucket+"/"+src))
	_, body, err := d.calls.small(ctx, c)
	if err != nil {
		if isStatus(err, http.StatusBadRequest) || isStatus(err, http.StatusNotImplemented) {
			return storage.Info{}, errNoCopy // over 5 GiB, or not known there
		}
		return storage.Info{}, err
	}
	var out struct {
		ETag         string
		LastModified string
	}
	// An error can come with status 200, once the copy has begun.
	if code, message := explainXML(body); code != "" {
		return storage.Info{}, &statusError{status: http.StatusInternalServerError, code: code, message: clean(message)}
	}
	if err := xml.Unmarshal(body, &out); err != nil {
		return storage.Info{}, problem.New(problem.Unavailable, "the answer to a copy cannot be read: %v", err)
	}
	head, err := d.calls.do(ctx, d.read(http.MethodHead, dst))
	if err != nil {
		return storage.Info{}, err
	}
	return d.info(dst, head.Header, head.ContentLength), drain(head)
}

func (d *s3) list(ctx context.Context, opt storage.ListOptions, token string) (storage.Page, error) {
	q := url.Values{
		"list-type":     {"2"},
		"encoding-type": {"url"},
		"max-keys":      {strconv.Itoa(opt.PageSize())},
		"prefix":        {opt.Prefix},
	}
	if !opt.Recursive {
		q.Set("delimiter", "/")
	}
	if token != "" {
		q.Set("continuation-token", token)
	}
	_, body, err := d.calls.small(ctx, call{method: http.MethodGet, url: d.url("", q)})
	if err != nil {
		return storage.Page{}, err
	}
	var out struct {
		EncodingType          string
		IsTruncated           bool
		NextContinuationToken string
		Contents              []struct {
			Key          string
			LastModified string
			ETag         string
			Size         int64
		}
		CommonPrefixes []struct{ Prefix string }
	}
	if err := xml.Unmarshal(body, &out); err != nil {
		return storage.Page{}, problem.New(problem.Unavailable, "the listing cannot be read: %v", err)
	}
	plain := func(s string) string {
		if u, err := url.QueryUnescape(s); err == nil && out.EncodingType == "url" {
			return u
		}
		return s
	}
	var page storage.Page
	for _, o := range out.Contents {
		page.Entries = append(page.Entries, storage.Entry{Info: storage.Info{
			Path: plain(o.Key), Size: o.Size, ETag: etag(o.ETag), ModTime: s3Time(o.LastModified),
		}})
	}
	for _, p := range out.CommonPrefixes {
		dir := strings.TrimSuffix(plain(p.Prefix), "/")
		page.Entries = append(page.Entries, storage.Entry{Info: storage.Info{Path: dir}, Dir: true})
	}
	if out.IsTruncated {
		page.Next = out.NextContinuationToken
	}
	return page, nil
}

// explainXML reads <Error><Code>..</Code><Message>..</Message></Error>, as S3 and
// Azure write it; nothing when body is something else.
func explainXML(body []byte) (code, message string) {
	var e struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
		Message string
	}
	if xml.Unmarshal(body, &e) != nil {
		return "", ""
	}
	return e.Code, e.Message
}
