package remote

import (
	"os"

	"github.com/minio/minio-go/v7/pkg/credentials"
)

// s3Credentials finds the credentials where Amazon's own tools look.
func s3Credentials(cfg S3) *credentials.Credentials {
	if cfg.AccessKey != "" {
		return credentials.NewStaticV4(cfg.AccessKey, cfg.SecretKey, cfg.SessionToken)
	}
	providers := []credentials.Provider{&credentials.EnvAWS{}, &credentials.FileAWSCredentials{}}
	// The role of a machine is asked of an address that only Amazon's machines
	// answer: elsewhere that would be a wait for nothing.
	role := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" ||
		os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "" || os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE") != ""
	if role || cfg.Endpoint == "" && os.Getenv("AWS_EC2_METADATA_DISABLED") != "true" {
		providers = append(providers, &credentials.IAM{Region: cfg.Region})
	}
	return credentials.NewChainCredentials(providers)
}
