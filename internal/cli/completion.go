package cli

import (
	"github.com/spf13/cobra"

	"quire/internal/kernel"
)

func newCompletionCommand(p Process) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print a script that completes quire's commands in your shell",
		Long: `Print a script that completes commands, flags, kernel names, notebooks and their
parameters in your shell.`,
		Example: `  source <(quire completion bash)             # this shell
  quire completion zsh > "${fpath[1]}/_quire"
  quire completion fish > ~/.config/fish/completions/quire.fish`,
		ValidArgs: []string{"bash", "zsh", "fish"},
		Args:      usageArgs(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch args[0] {
			case "bash":
				return cmd.Root().GenBashCompletionV2(p.Stdout, true)
			case "zsh":
				return cmd.Root().GenZshCompletion(p.Stdout)
			}
			return cmd.Root().GenFishCompletion(p.Stdout, true)
		},
	}
	return withExit(cmd, exitHelp)
}

// completeNotebooks offers notebooks for up to n arguments; n of 0 is any
// number.
func completeNotebooks(n int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if n > 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return []string{"ipynb"}, cobra.ShellCompDirectiveFilterFileExt
	}
}

// completeKernels offers the installed kernels.
func completeKernels(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	specs, _ := kernel.Finder{}.List()
	var names []string
	for _, s := range specs {
		names = append(names, cobra.CompletionWithDesc(s.Name, s.DisplayName))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeFlag gives a flag its completion.
func completeFlag(cmd *cobra.Command, name string, f cobra.CompletionFunc) {
	if err := cmd.RegisterFlagCompletionFunc(name, f); err != nil {
		panic("cli: " + err.Error())
	}
}
