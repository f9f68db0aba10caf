package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// pairType is the pflag type of a flag that takes two values, as papermill's
// -p NAME VALUE does. pflag knows flags of one value only, so joinPairs makes
// one value of the two, with a NUL between them, which no argument can hold.
const pairType = "pair"

// A pair is one name and value as it was given.
type pair struct{ name, value string }

// pairs collects the values of a two-value flag in the order given.
type pairs []pair

func (p *pairs) Type() string   { return pairType }
func (p *pairs) String() string { return "" }

// Set takes the two values that joinPairs has joined. Only while a shell asks
// for completions can the second one be missing.
func (p *pairs) Set(joined string) error {
	name, value, _ := strings.Cut(joined, "\x00")
	*p = append(*p, pair{name, value})
	return nil
}

// joinPairs joins the two values of each two-value flag of the command that
// args name. It walks args exactly as pflag does, so that the value of another
// flag is never taken for a flag.
func joinPairs(root *cobra.Command, args []string) ([]string, error) {
	start := 0
	if len(args) > 0 && (args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd) {
		start = 1
	}
	if len(args) <= start {
		return args, nil
	}
	cmd, _, err := root.Find(args[start : start+1])
	if err != nil || cmd == root || cmd == nil {
		return args, nil
	}
	named := start + 1 // how many arguments name the command
	if len(args) > named && cmd.HasSubCommands() {
		if sub, _, err := root.Find(args[start : named+1]); err == nil && sub != cmd {
			cmd, named = sub, named+1
		}
	}
	cmd.InitDefaultHelpFlag()
	w := argWalk{flags: cmd.Flags(), completing: start == 1, out: append([]string(nil), args[:named]...)}
	return w.walk(args[named:])
}

// An argWalk is one pass of joinPairs over the arguments of a command.
type argWalk struct {
	flags      *pflag.FlagSet
	completing bool // the last argument is the one being typed
	out        []string
}

func (w *argWalk) walk(args []string) ([]string, error) {
	for len(args) > 0 {
		arg := args[0]
		var err error
		switch {
		case arg == "--":
			return append(w.out, args...), nil
		case strings.HasPrefix(arg, "--"):
			args, err = w.long(args)
		case strings.HasPrefix(arg, "-") && len(arg) > 1:
			args, err = w.short(args)
		default:
			w.out, args = append(w.out, arg), args[1:]
		}
		if err != nil {
			return nil, err
		}
	}
	return w.out, nil
}

// long takes one --flag and its values off args.
func (w *argWalk) long(args []string) ([]string, error) {
	name, value, inline := strings.Cut(args[0][2:], "=")
	flag := w.flags.Lookup(name)
	switch {
	case flag == nil || inline && flag.Value.Type() != pairType:
		w.out = append(w.out, args[0])
		return args[1:], nil
	case flag.Value.Type() == pairType && inline:
		return w.pair(flag, "--"+name, append([]string{value}, args[1:]...), args)
	case flag.Value.Type() == pairType:
		return w.pair(flag, "--"+name, args[1:], args)
	case flag.NoOptDefVal == "":
		return w.copy(args, 2), nil
	}
	return w.copy(args, 1), nil
}

// short takes one -abc cluster and its values off args.
func (w *argWalk) short(args []string) ([]string, error) {
	cluster := args[0][1:]
	for i := range len(cluster) {
		flag := w.flags.ShorthandLookup(cluster[i : i+1])
		rest := cluster[i+1:]
		switch {
		case flag == nil:
			return w.copy(args, 1), nil
		case flag.Value.Type() == pairType:
			if i > 0 {
				w.out = append(w.out, "-"+cluster[:i])
			}
			values := args[1:]
			if rest != "" {
				values = append([]string{rest}, values...)
			}
			return w.pair(flag, "-"+cluster[i:i+1], values, args)
		case flag.NoOptDefVal == "" && rest != "":
			return w.copy(args, 1), nil
		case flag.NoOptDefVal == "":
			return w.copy(args, 2), nil
		}
	}
	return w.copy(args, 1), nil
}

// copy moves the first n arguments to the output unchanged.
func (w *argWalk) copy(args []string, n int) []string {
	n = min(n, len(args))
	w.out = append(w.out, args[:n]...)
	return args[n:]
}

// pair joins the first two of values. all is what is left as it stands when
// the pair is not complete yet while completing.
func (w *argWalk) pair(flag *pflag.Flag, spelled string, values, all []string) ([]string, error) {
	if w.completing && len(values) < 3 {
		w.out = append(w.out, all...)
		return nil, nil
	}
	if len(values) < 2 {
		return nil, usageError{fmt.Errorf("flag %s takes two values, a name and a value", spelled)}
	}
	w.out = append(w.out, "--"+flag.Name+"="+values[0]+"\x00"+values[1])
	return values[2:], nil
}
