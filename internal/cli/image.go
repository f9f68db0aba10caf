package cli

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"quire/internal/compute"
	"quire/internal/problem"
)

func newJobUnpackCommand(p Process) *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use: "unpack LAYOUT FOLDER", Short: "Unpack an OCI image for containers of this machine",
		Long: `Unpack an image of the OCI image layout, a folder or a tar of one, into a new folder,
and print its digest. Every blob is checked. The configuration's "images" names the
folder to jobs:

  images:
    NAME@sha256:DIGEST: FOLDER`,
		Example: "  skopeo copy docker://debian:bookworm-slim oci:debian\n  quire job unpack debian /srv/quire/images/debian",
		Args:    usageArgs(cobra.ExactArgs(2)),
		RunE: func(_ *cobra.Command, args []string) error {
			folder, err := filepath.Abs(args[1])
			if err != nil {
				return problem.WrapAs(problem.Invalid, err, "finding %s", args[1])
			}
			digest, err := compute.UnpackImage(args[0], folder)
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(p.Stdout, map[string]string{"digest": digest, "folder": folder})
			}
			_, err = fmt.Fprintf(p.Stdout, "%s\n%s\n", digest, folder)
			return err
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return withExit(cmd, exitHelp)
}
