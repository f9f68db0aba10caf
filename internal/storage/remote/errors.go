package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"

	"quire/internal/problem"
	"quire/internal/storage"
)

// classify gives err its kind, in words for a person; op names the thing.
func classify(err error, op string) error {
	if err == nil {
		return nil
	}
	var status *statusError
	if errors.As(err, &status) {
		kind, msg := kindOfStatus(status)
		return &problem.Error{Kind: kind, Op: op, Msg: msg, Err: err}
	}
	var known *problem.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return problem.Wrap(err, "%s", op)
	}
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return &problem.Error{Kind: problem.Unavailable, Op: op, Msg: "there is no host of that name", Err: err}
	case isCertificateError(err):
		return &problem.Error{Kind: problem.Unavailable, Op: op, Msg: "the server's certificate is not trusted", Err: err}
	}
	return &problem.Error{Kind: problem.Unavailable, Op: op, Msg: "the store does not answer", Err: err}
}

func isCertificateError(err error) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	return errors.As(err, &verify) || errors.As(err, &unknown)
}

func kindOfStatus(e *statusError) (problem.Kind, string) {
	switch e.code {
	case "NoSuchBucket", "ContainerNotFound":
		return problem.NotFound, "there is no such bucket"
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthenticationFailed",
		"XAdminUserNotFound":
		return problem.Denied, "the credentials were refused"
	case "EntityTooLarge", "RequestBodyTooLarge":
		return problem.TooLarge, "the store takes no file of this size"
	case "SlowDown", "ServerBusy":
		return problem.Unavailable, "the store asks to slow down"
	}
	switch e.status {
	case http.StatusNotFound, http.StatusGone:
		return problem.NotFound, "it does not exist"
	case http.StatusUnauthorized:
		return problem.Denied, "the credentials are missing or were refused"
	case http.StatusForbidden:
		return problem.Denied, "access was refused"
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return problem.Denied, "the server does not allow this"
	case http.StatusConflict, http.StatusPreconditionFailed:
		return problem.Conflict, "it changed since it was read"
	case http.StatusRequestEntityTooLarge:
		return problem.TooLarge, "the server takes no file of this size"
	case http.StatusInsufficientStorage:
		return problem.Unavailable, "the store is full"
	case http.StatusTooManyRequests:
		return problem.Unavailable, "the store asks to slow down"
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return problem.Unavailable, "the store is too slow"
	}
	switch {
	case e.status >= 500:
		return problem.Unavailable, "the store has a fault"
	case e.status >= 400:
		return problem.Invalid, ""
	}
	return problem.Unavailable, "the store sends to another address"
}

// conditional turns the answers that mean "your condition does not hold" into
// Exists or Conflict.
func conditional(err error, opt storage.PutOptions) error {
	var status *statusError
	if !errors.As(err, &status) {
		return err
	}
	refused := status.status == http.StatusPreconditionFailed || status.status == http.StatusNotModified ||
		status.code == "BlobAlreadyExists"
	switch {
	case opt.IfNotExist && refused:
		return problem.New(problem.Exists, "it exists already")
	case opt.IfMatch != "" && refused:
		return problem.New(problem.Conflict, "it changed since it was read")
	case opt.IfMatch != "" && status.status == http.StatusNotFound && status.code != "NoSuchBucket" && status.code != "ContainerNotFound":
		return problem.New(problem.Conflict, "it does not exist any more")
	}
	return err
}

func isStatus(err error, want int) bool {
	var status *statusError
	return errors.As(err, &status) && status.status == want
}

func headerOf(err error) http.Header {
	var status *statusError
	if errors.As(err, &status) {
		return status.header
	}
	return nil
}
