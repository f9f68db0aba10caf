package remote

import (
	"context"
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"

	"quire/internal/problem"
	"quire/internal/storage"
)

// s3Upload is a multipart upload.
type s3Upload struct {
	d    *s3
	path string
	opt  storage.PutOptions
	id   string
	tags []string // of the parts, in order
}

func (d *s3) upload(ctx context.Context, path string, opt storage.PutOptions) (upload, error) {
	c := call{method: http.MethodPost, url: d.url(path, url.Values{"uploads": {""}}), header: http.Header{}}
	c.header.Set("Content-Type", opt.ContentType)
	_, body, err := d.calls.small(ctx, c)
	if err != nil {
		return nil, err
	}
	var out struct{ UploadId string } //nolint:revive,staticcheck // S3's name
	if err := xml.Unmarshal(body, &out); err != nil || out.UploadId == "" {
		return nil, problem.New(problem.Unavailable, "the answer to the beginning of an upload cannot be read")
	}
	return &s3Upload{d: d, path: path, opt: opt, id: out.UploadId}, nil
}

func (u *s3Upload) part(ctx context.Context, number int, data []byte, _ bool) error {
	q := url.Values{"partNumber": {strconv.Itoa(number)}, "uploadId": {u.id}}
	c := call{method: http.MethodPut, url: u.d.url(u.path, q), header: http.Header{}, body: data}
	c.header.Set("Content-Md5", md5Base64(data))
	h, _, err := u.d.calls.small(ctx, c)
	if err != nil {
		return err
	}
	u.tags = append(u.tags, h.Get("ETag"))
	return nil
}

func (u *s3Upload) finish(ctx context.Context) (storage.Info, error) {
	type part struct {
		PartNumber int
		ETag       string
	}
	var in struct {
		XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUpload"`
		Part    []part
	}
	for i, tag := range u.tags {
		in.Part = append(in.Part, part{PartNumber: i + 1, ETag: tag})
	}
	body, err := xml.Marshal(in)
	if err != nil {
		return storage.Info{}, err
	}
	c := call{method: http.MethodPost, url: u.d.url(u.path, url.Values{"uploadId": {u.id}}), header: http.Header{}, body: body}
	c.header.Set("Content-Type", "application/xml")
	conditions(c.header, u.opt)
	h, answer, err := u.d.calls.small(ctx, c)
	if err != nil {
		return storage.Info{}, err
	}
	// An error can come with status 200, once the work has begun.
	if code, message := explainXML(answer); code != "" {
		status := http.StatusInternalServerError
		if code == "PreconditionFailed" {
			status = http.StatusPreconditionFailed
		}
		return storage.Info{}, &statusError{status: status, code: code, message: clean(message)}
	}
	var out struct{ ETag string }
	if err := xml.Unmarshal(answer, &out); err != nil {
		return storage.Info{}, problem.New(problem.Unavailable, "the answer to the end of an upload cannot be read: %v", err)
	}
	info := stored(u.path, 0, h)
	info.ETag = etag(out.ETag)
	return info, nil
}

func (u *s3Upload) abort(ctx context.Context) error {
	_, _, err := u.d.calls.small(ctx, call{method: http.MethodDelete, url: u.d.url(u.path, url.Values{"uploadId": {u.id}})})
	return err
}
