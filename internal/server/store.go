package server

import (
	"context"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/local"
)

// OpenPath finds the store of one file that a person named, and the file's path
// in it. It is the only place that knows which driver serves which name:
//
//   - "-": standard input for Get, standard output for Put
//   - s3://bucket/key: Amazon S3, or what AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
//     or BOTO3_ENDPOINT_URL names
//   - gs://bucket/key: Google Cloud Storage
//   - az://container/key: Azure Blob Storage, of AZURE_STORAGE_ACCOUNT
//   - abs://account.blob.core.windows.net/container/key: the same
//   - http://..., https://...: a web server; GitHub's page of a file is read raw
//   - file:///path, path: a file of this machine, or a device or named pipe
//
// Nothing remote is asked before the store is first used, so a wrong bucket or
// credential shows at the first Get or Put. A local folder is opened at once: one
// that does not exist is an error of kind NotFound here. A name that is a link is
// followed, so that the file it leads to is the one that is read and replaced.
//
// The caller closes the store. Other kinds: Invalid for a name that cannot be
// understood, which never repeats a credential that the name holds.
func OpenPath(ctx context.Context, name string) (storage.Store, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", context.Cause(ctx)
	}
	switch scheme := schemeOf(name); scheme {
	case "":
		if name == "-" {
			return newStdio(), "-", nil
		}
		return openLocal(name)
	case "file":
		u, err := url.Parse(name)
		if err != nil || u.Host != "" && u.Host != "localhost" || u.RawQuery != "" || u.Fragment != "" {
			return nil, "", problem.New(problem.Invalid, "%q: want file:///absolute/path", name)
		}
		return openLocal(u.Path)
	default:
		return openRemote(scheme, name)
	}
}

func openRemote(scheme, name string) (storage.Store, string, error) {
	switch scheme {
	case "s3", "s3a", "s3n":
		return openS3(name)
	case "gs", "gcs":
		return openGCS(name)
	case "az", "azure", "abs", "wasb", "wasbs":
		return openAzure(scheme, name)
	case "http", "https":
		return openWeb(name)
	case "hdfs", "adl":
		return nil, "", problem.New(problem.Invalid, "%s:// is not supported: copy the file to a disk or an object store first", scheme)
	}
	return nil, "", problem.New(problem.Invalid,
		"%s:// is not known: want a path, -, or one of s3://, gs://, az://, abs://, http://, https://, file://", scheme)
}

var schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// schemeOf returns the lower-case scheme of a URL, and nothing for a plain path.
func schemeOf(name string) string {
	m := schemePattern.FindString(name)
	return strings.ToLower(strings.TrimSuffix(m, "://"))
}

func openLocal(name string) (storage.Store, string, error) {
	if name == "" {
		return nil, "", problem.New(problem.Invalid, "the path is empty")
	}
	if strings.ContainsRune(name, 0) {
		return nil, "", problem.New(problem.Invalid, "path %q: want no NUL", name)
	}
	fi, err := os.Stat(name)
	switch {
	case err == nil && fi.IsDir(), strings.HasSuffix(name, "/"):
		return nil, "", problem.New(problem.Invalid, "%s: it is a folder, not a file", name)
	case err == nil && fi.Mode()&(fs.ModeDevice|fs.ModeCharDevice|fs.ModeNamedPipe) != 0:
		return newDevice(name), filepath.Base(name), nil
	case err == nil && !fi.Mode().IsRegular():
		return nil, "", problem.New(problem.Invalid, "%s: it is not a file (%s)", name, fi.Mode().Type())
	}
	target, err := followLinks(name)
	if err != nil {
		return nil, "", problem.WrapAs(problem.Invalid, err, "opening %s", name)
	}
	dir, base := filepath.Split(target)
	if err := storage.ValidatePath(base); err != nil {
		return nil, "", err
	}
	store, err := local.Open(local.Config{Dir: filepath.Clean(dir)})
	if err != nil {
		return nil, "", err
	}
	return store, base, nil
}

// followLinks returns what the last name of path leads to, which need not exist.
// Links in the folders before it are left to the system.
func followLinks(path string) (string, error) {
	const most = 40 // as the kernel
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	for range most {
		next, err := os.Readlink(abs)
		if err != nil {
			return abs, nil //nolint:nilerr // not a link, or nothing: what it is shows when it is used
		}
		if !filepath.IsAbs(next) {
			next = filepath.Join(filepath.Dir(abs), next)
		}
		abs = next
	}
	return "", problem.New(problem.Invalid, "too many links")
}
