package main

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/moqrelay/moqrelay/cmd/internal/spelling"
	"github.com/moqrelay/moqrelay/relay/config"
)

// usageHint says what to do about arguments that cannot be used: the flag that
// was probably meant, or where all of them are listed.
func usageHint(err error) string {
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok && unknown.GetSpecifiedShortnames() == "" {
		if near := spelling.Nearest(unknown.GetSpecifiedName(), flagNames()); near != "" {
			return fmt.Sprintf("did you mean --%s?", near)
		}
	}
	return "moq-relay --help lists every flag"
}

// startHint says what to do about a relay that does not start.
func startHint(err error) string {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program listens there: stop it, or choose another port"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "this user may not do that: choose a port above 1023, files that it can read, and a --qlog-dir that it can write to"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine has no such address: [::] stands for all that it has"
	case errors.Is(err, fs.ErrNotExist):
		return "check the path; moq-relay --tls-self-sign localhost needs no files"
	default:
		return ""
	}
}

func flagNames() []string {
	c := config.Default()
	fs := pflag.NewFlagSet("moq-relay", pflag.ContinueOnError)
	c.Register(fs)
	var names []string
	fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	return names
}
