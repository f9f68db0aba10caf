package server

import (
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"

	"quire/internal/problem"
	"quire/internal/storage"
	"quire/internal/storage/remote"
)

// bucketAndKey takes scheme://bucket/key apart. Keys are taken as they are: no
// escapes, no query.
func bucketAndKey(name string) (bucket, key string, err error) {
	_, rest, _ := strings.Cut(name, "://")
	bucket, key, _ = strings.Cut(rest, "/")
	if strings.Contains(bucket, "@") {
		return "", "", problem.New(problem.Invalid, "the URL holds credentials: give them in the environment instead")
	}
	if bucket == "" || key == "" {
		return "", "", problem.New(problem.Invalid, "%.200q: want a bucket and a key, as in s3://bucket/folder/file.ipynb", name)
	}
	return bucket, key, storage.ValidatePath(key)
}

// env returns the first of the variables that is set and not empty.
func env(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

func openS3(name string) (storage.Store, string, error) {
	bucket, key, err := bucketAndKey(name)
	if err != nil {
		return nil, "", err
	}
	store, err := remote.OpenS3(remote.S3{
		Bucket:   bucket,
		Endpoint: env("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "BOTO3_ENDPOINT_URL"),
		Region:   env("AWS_REGION", "AWS_DEFAULT_REGION"),
	})
	return opened(store, key, err)
}

// opened keeps a nil driver from becoming a store that is not nil.
func opened(store *remote.Store, key string, err error) (storage.Store, string, error) {
	if err != nil {
		return nil, "", err
	}
	return store, key, nil
}

var githubPage = regexp.MustCompile(`^/([^/]+)/([^/]+)/blob/(.+)$`)

// openWeb serves one file of a web server. GitHub's page of a file stands for the
// file itself, read with GITHUB_ACCESS_TOKEN where that is set.
func openWeb(name string) (storage.Store, string, error) {
	u, err := url.Parse(name)
	if err != nil || u.Host == "" {
		return nil, "", problem.New(problem.Invalid, "the web address cannot be understood: want https://host/path/file")
	}
	cfg := remote.Web{}
	if m := githubPage.FindStringSubmatch(u.Path); m != nil && strings.EqualFold(u.Hostname(), "github.com") {
		u.Scheme, u.Host = "https", "raw.githubusercontent.com"
		u.Path, u.RawPath, u.RawQuery = "/"+m[1]+"/"+m[2]+"/"+m[3], "", ""
		if token := os.Getenv("GITHUB_ACCESS_TOKEN"); token != "" {
			cfg.Header = http.Header{"Authorization": {"token " + token}}
		}
	}
	i := strings.LastIndexByte(u.Path, '/')
	key := u.Path[i+1:]
	if key == "" {
		return nil, "", problem.New(problem.Invalid, "the web address %s://%s%s names no file", u.Scheme, u.Host, u.Path)
	}
	if err := storage.ValidatePath(key); err != nil {
		return nil, "", err
	}
	u.Path, u.RawPath, u.Fragment = u.Path[:i+1], "", ""
	cfg.Base = u.String()
	store, err := remote.OpenWeb(cfg)
	return opened(store, key, err)
}

func openGCS(name string) (storage.Store, string, error) {
	bucket, key, err := bucketAndKey(name)
	if err != nil {
		return nil, "", err
	}
	endpoint := os.Getenv("STORAGE_EMULATOR_HOST")
	if endpoint != "" && schemeOf(endpoint) == "" {
		endpoint = "http://" + endpoint
	}
	store, err := remote.OpenGCS(remote.GCS{Bucket: bucket, Endpoint: endpoint})
	return opened(store, key, err)
}

// openAzure serves az://container/key of the account that the environment names,
// and abs://account.blob.core.windows.net/container/key?signature, in which the
// signature is optional.
func openAzure(scheme, name string) (storage.Store, string, error) {
	cfg := remote.Azure{
		Account: os.Getenv("AZURE_STORAGE_ACCOUNT"),
		Key:     env("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCESS_KEY"),
		SAS:     os.Getenv("AZURE_STORAGE_SAS_TOKEN"),
	}
	connectionString(&cfg, os.Getenv("AZURE_STORAGE_CONNECTION_STRING"))
	if scheme == "abs" {
		plain, sas, _ := strings.Cut(name, "?")
		_, rest, _ := strings.Cut(plain, "://")
		host, path, _ := strings.Cut(rest, "/")
		account, _, full := strings.Cut(host, ".")
		if !full {
			return nil, "", problem.New(problem.Invalid, "%.200q: want abs://account.blob.core.windows.net/container/folder/file.ipynb", plain)
		}
		if account != cfg.Account {
			cfg.Key, cfg.SAS = "", "" // they are another account's
		}
		cfg.Account, cfg.Endpoint = account, "https://"+host
		if sas != "" {
			cfg.Key, cfg.SAS = "", sas
		}
		name = "az://" + path
	}
	container, key, err := bucketAndKey(name)
	if err != nil {
		return nil, "", err
	}
	cfg.Container = container
	if cfg.Key == "" && cfg.SAS == "" {
		cfg.Token = remote.AzureLogin{
			TenantID:           os.Getenv("AZURE_TENANT_ID"),
			ClientID:           os.Getenv("AZURE_CLIENT_ID"),
			ClientSecret:       os.Getenv("AZURE_CLIENT_SECRET"),
			FederatedTokenFile: os.Getenv("AZURE_FEDERATED_TOKEN_FILE"),
		}.Token()
	}
	store, err := remote.OpenAzure(cfg)
	return opened(store, key, err)
}

// connectionString reads "AccountName=...;AccountKey=...;BlobEndpoint=...".
func connectionString(cfg *remote.Azure, s string) {
	for field := range strings.SplitSeq(s, ";") {
		name, value, _ := strings.Cut(field, "=")
		switch strings.TrimSpace(name) {
		case "AccountName":
			cfg.Account = value
		case "AccountKey":
			cfg.Key = value
		case "SharedAccessSignature":
			cfg.SAS = value
		case "BlobEndpoint":
			cfg.Endpoint = value
		}
	}
}
