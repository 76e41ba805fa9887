package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/moqrelay/moqrelay/cmd/internal/spelling"
)

// unknownCommand says which command was probably meant.
func unknownCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() {
			names = append(names, c.Name())
		}
	}
	hint := fmt.Sprintf("%q lists the commands", cmd.CommandPath()+" --help")
	if near := spelling.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", cmd.CommandPath()+" "+near)
	}
	return misused(hint, "there is no command %q", name)
}

// badFlag says which flag was probably meant.
func badFlag(cmd *cobra.Command, err error) error {
	hint := fmt.Sprintf("%q lists the flags", cmd.CommandPath()+" --help")
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := unknown.GetSpecifiedName()
		var names []string
		visit := func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		}
		cmd.LocalFlags().VisitAll(visit)
		cmd.InheritedFlags().VisitAll(visit)
		if near := spelling.Nearest(name, names); near != "" && len(name) > 1 {
			hint = fmt.Sprintf("did you mean --%s?", near)
		}
	}
	return misused(hint, "%w", err)
}

// wantArgs checks that there is one argument or up to most; names say what they
// are.
func wantArgs(most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		hint := fmt.Sprintf("%q shows how it is used", cmd.CommandPath()+" --help")
		switch {
		case len(args) < 1:
			return misused(hint, "%s needs %s", cmd.CommandPath(), names)
		case len(args) > most:
			return misused(hint, "%s takes %s, not also %q", cmd.CommandPath(), names, args[most])
		}
		return nil
	}
}
