package cli

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"quire/internal/api"
	"quire/internal/auth"
	"quire/internal/kernel"
	"quire/internal/sqlkernel"
)

// sqlKernel is the kernel for SQL, when this process was started as one. It
// comes before all commands, and no help names it: only kernelspecs do. An
// interrupt ends its statement, not the process.
func sqlKernel(p Process) (status int, asked bool) {
	file, asked := kernel.SQLConnectionFile(p.Args)
	if !asked {
		return 0, false
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	interrupts := make(chan struct{}, 1)
	go func() {
		for {
			select {
			case s := <-p.Signals:
				if s != os.Interrupt {
					cancel()
					return
				}
				select {
				case interrupts <- struct{}{}:
				default:
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	err := sqlkernel.Run(ctx, sqlkernel.Config{
		ConnectionFile: file, Gateway: kernelGateway, Notebook: os.Getenv("QUIRE_NOTEBOOK"), Run: os.Getenv("QUIRE_RUN"),
		Version: currentVersion().Version, Interrupts: interrupts,
	})
	if err != nil {
		fmt.Fprintln(p.Stderr, "the SQL kernel: "+err.Error())
		return exitFailed, true
	}
	return exitDone, true
}

// kernelGateway finds the server of a kernel: by the pass that the platform
// renews, by the environment, or the one that runs on this machine.
func kernelGateway() (sqlkernel.Gateway, error) {
	if file := os.Getenv("QUIRE_TOKEN_FILE"); filepath.Base(file) == auth.PassFile {
		if pass, err := auth.ReadPass(filepath.Dir(file)); err == nil && pass.URL != "" && pass.Token != "" {
			return &api.Client{URL: pass.URL, Token: pass.Token}, nil
		}
	}
	return client()
}
