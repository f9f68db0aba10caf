package local

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"quire/internal/problem"
)

// classify gives err its kind and op, which names the thing; nil stays nil. The
// path inside a PathError is left out: op has the one that the person knows.
func classify(err error, op string) error {
	if err == nil {
		return nil
	}
	var known *problem.Error
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return problem.Wrap(err, "%s", op)
	}
	kind, msg := kindOf(err)
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err
	}
	return &problem.Error{Kind: kind, Op: op, Msg: msg, Err: err}
}

func kindOf(err error) (problem.Kind, string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return problem.NotFound, ""
	case errors.Is(err, syscall.ENOTDIR):
		return problem.NotFound, "a part of the path is a file, not a folder"
	case errors.Is(err, syscall.ENOTEMPTY), errors.Is(err, syscall.EISDIR):
		return problem.Invalid, "it is a folder"
	case errors.Is(err, fs.ErrExist):
		return problem.Exists, ""
	case errors.Is(err, syscall.EROFS):
		return problem.Denied, "the disk is read-only"
	case errors.Is(err, fs.ErrPermission):
		return problem.Denied, ""
	case errors.Is(err, syscall.ENOSPC):
		return problem.Unavailable, "the disk is full"
	case errors.Is(err, syscall.EDQUOT):
		return problem.Unavailable, "the disk quota is used up"
	case errors.Is(err, syscall.EFBIG):
		return problem.TooLarge, "the file is larger than this disk or process may write"
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP):
		return problem.Invalid, ""
	case errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENXIO):
		return problem.Unavailable, "the disk does not answer as it should"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return problem.Unavailable, "too many open files"
	case escapes(err):
		return problem.Denied, "a link on the way leads out of the folder"
	}
	return problem.Internal, ""
}

// escapes recognises os.Root's refusal, which has no exported value.
func escapes(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if err.Error() == "path escapes from parent" {
			return true
		}
	}
	return false
}
