package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Annotations that the help reads.
const (
	exitAnnotation  = "exit"  // of a command: its exit statuses
	groupAnnotation = "group" // of a flag: the heading it stands under
)

// printHelp is every command's --help: what it does, how it is called,
// examples, flags by group, exit statuses.
func printHelp(cmd *cobra.Command, _ []string) {
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s\n\n%s", strings.TrimSpace(about), usage(cmd))
}

// usage is the help of cmd without what it does.
func usage(cmd *cobra.Command) string {
	var out strings.Builder
	out.WriteString("Usage:\n  " + cmd.UseLine() + "\n")
	if cmd.Example != "" {
		out.WriteString("\nExamples:\n" + strings.TrimRight(cmd.Example, "\n") + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		out.WriteString("\nCommands:\n")
		widest := 11
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				widest = max(widest, len(sub.Name()))
			}
		}
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				fmt.Fprintf(&out, "  %-*s %s\n", widest, sub.Name(), sub.Short)
			}
		}
	}
	if cmd.HasAvailableLocalFlags() {
		out.WriteString("\n" + flagHelp(cmd.LocalFlags()) + "\n")
	}
	if exit := cmd.Annotations[exitAnnotation]; exit != "" {
		out.WriteString("\n" + exit + "\n")
	}
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&out, "\n'%s COMMAND --help' says more about a command.\n", cmd.CommandPath())
	}
	return out.String()
}

// withExit gives cmd its exit statuses, which its help lists.
func withExit(cmd *cobra.Command, exit string) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = map[string]string{}
	}
	cmd.Annotations[exitAnnotation] = exit
	return cmd
}

// group puts the named flags under a heading in the help text.
func group(flags *pflag.FlagSet, heading string, names ...string) {
	for _, name := range names {
		if err := flags.SetAnnotation(name, groupAnnotation, []string{heading}); err != nil {
			panic("cli: " + err.Error())
		}
	}
}

// flagHelp writes the flags by group, in the order in which they were defined.
func flagHelp(flags *pflag.FlagSet) string {
	var headings []string
	byHeading := map[string][]*pflag.Flag{}
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		heading := "Flags"
		if g := f.Annotations[groupAnnotation]; len(g) == 1 {
			heading = g[0]
		}
		if byHeading[heading] == nil {
			headings = append(headings, heading)
		}
		byHeading[heading] = append(byHeading[heading], f)
	})
	var out strings.Builder
	for i, heading := range headings {
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString(heading + ":\n")
		for _, f := range byHeading[heading] {
			writeFlag(&out, f)
		}
	}
	return strings.TrimRight(out.String(), "\n")
}

// flagColumn is where the text about a flag starts.
const flagColumn = 36

func writeFlag(out *strings.Builder, f *pflag.Flag) {
	name := "      --" + f.Name
	if f.Shorthand != "" {
		name = "  -" + f.Shorthand + ", --" + f.Name
	}
	value, text := pflag.UnquoteUsage(f)
	if f.Value.Type() == pairType && value == pairType {
		value = "NAME VALUE"
	}
	switch {
	case f.NoOptDefVal != "" && f.NoOptDefVal != "true":
		name += "[=" + value + "]"
	case value != "" && f.NoOptDefVal == "":
		name += " " + value
	}
	if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" && f.DefValue != "[]" {
		text += " (default " + f.DefValue + ")"
	}
	lines := strings.Split(wrap(text, 100-flagColumn), "\n")
	if len(name) > flagColumn-2 {
		fmt.Fprintf(out, "%s\n%*s%s\n", name, flagColumn, "", lines[0])
	} else {
		fmt.Fprintf(out, "%-*s%s\n", flagColumn, name, lines[0])
	}
	for _, line := range lines[1:] {
		fmt.Fprintf(out, "%*s%s\n", flagColumn, "", line)
	}
}

// wrap breaks text between words into lines of at most width characters.
func wrap(text string, width int) string {
	var out strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			out.WriteString("\n")
			column = 0
		default:
			out.WriteString(" ")
			column++
		}
		out.WriteString(word)
		column += len(word)
	}
	return out.String()
}

// printJSON writes v as indented JSON and a newline. Characters such as < stay
// as they are.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
