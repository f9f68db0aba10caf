package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"quire/internal/kernel"
	"quire/internal/parameter"
)

// quietly executes code of ours without a trace in the kernel's history, its
// counter or the notebook. It returns what went wrong.
func (r *run) quietly(code string) error {
	r.stop.begin(0)
	defer r.stop.finish()
	ctx := context.Background()
	ex, err := r.k.Execute(ctx, kernel.ExecuteRequest{Code: code, Silent: true})
	if err != nil {
		return err
	}
	var failed error
	for {
		m, err := ex.Next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return failed
		case err != nil:
			return err
		case m.ParentHeader.MsgID != ex.ID():
			r.handle(nil, m)
		case m.Type() == "status":
			r.stop.executes()
		case m.Type() == "execute_reply":
			var rep reply
			if err := m.Decode(&rep); err != nil {
				failed = err
			} else if rep.Status != "ok" {
				failed = fmt.Errorf("%s: %s", rep.Ename, clip(r.mask.text(rep.Evalue), 2000))
			}
		}
	}
}

// assignSecrets gives the kernel its secrets as variables. The code names
// files; no value is in it.
func (r *run) assignSecrets() verdict {
	name := r.kernelName()
	key, _ := parameter.LanguageOf(name, r.language())
	for _, s := range r.secretNames() {
		if !parameter.ValidName(name, r.language(), s) {
			continue // by file only: quire.secret("my-key")
		}
		code := secretCode(key, r.dirs.secrets, s)
		if code == "" {
			continue
		}
		if err := r.quietly(code); err != nil {
			return r.quietFailure("assigning secret "+s, err)
		}
	}
	return verdict{status: Succeeded}
}

// quietFailure is the verdict on code of ours that failed.
func (r *run) quietFailure(what string, err error) verdict {
	status := Failed
	var dead *kernel.DeathError
	if errors.As(err, &dead) {
		status = KernelDied
		r.result.Death = r.mask.text(dead.Error())
	}
	if r.stop.ctx.Err() != nil {
		status = Interrupted
	}
	return verdict{status: status, reason: what + ": " + r.mask.text(err.Error())}
}
