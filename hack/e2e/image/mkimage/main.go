// Command mkimage writes the images that we publish, or the bill of materials
// of one of their programs:
//
//	mkimage -version v0.1.0 -dir dist/images               all archives, all platforms
//	mkimage -version v0.1.0 -platforms linux/amd64 -rig    those of the rig as well
//	mkimage -version v0.1.0 -bill moq-relay -root /out     reads /out/moq-relay and further files
//	                                                       of the image, adds its bill of materials
//
// `make images` calls it the first way and the Dockerfile the last.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/moqrelay/moqrelay/hack/e2e/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "mkimage:", err)
		}
		os.Exit(1)
	}
}

// settings are the values of the flags.
type settings struct {
	release   image.Release
	created   string
	platforms string
	rig       bool
	options   image.Options
	bill      string
	root      string
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	s := settings{options: image.Options{Log: slog.New(slog.NewTextHandler(stderr, nil))}}
	flags := flag.NewFlagSet("mkimage", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&s.release.Version, "version", "", "tag of the images, such as v0.1.0")
	flags.StringVar(&s.release.Revision, "revision", "", "commit that they are made from")
	flags.StringVar(&s.created, "created", "0", "time of files in them, in seconds since 1970")
	flags.StringVar(&s.platforms, "platforms", "linux/amd64,linux/arm64", "what to build for")
	flags.BoolVar(&s.rig, "rig", false, "write those that the rig rolls out too")
	flags.StringVar(&s.options.Source, "source", ".", "top of the repository")
	flags.StringVar(&s.options.Dir, "dir", "dist/images", "where to write")
	flags.StringVar(&s.options.Roots, "roots", "", "file of public authorities (default that of this machine)")
	flags.StringVar(&s.bill, "bill", "", "write the bill of materials of this image alone")
	flags.StringVar(&s.root, "root", "", "with -bill: folder that holds the files of the image")
	if err := flags.Parse(args); err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(s.created, 10, 64)
	if err != nil {
		return fmt.Errorf("-created %q: want seconds since 1970, such as 1767225600", s.created)
	}
	s.release.Created = time.Unix(seconds, 0)
	if s.bill != "" {
		return writeBill(s)
	}
	return writeImages(ctx, s)
}

func writeImages(ctx context.Context, s settings) (err error) {
	if s.options.Platforms, err = image.ParsePlatforms(s.platforms); err != nil {
		return err
	}
	images := image.Products(s.release)
	if s.rig {
		images = append(images, image.Variants(s.release)...)
	}
	_, err = image.Build(ctx, s.options, images...)
	return err
}

func writeBill(s settings) error {
	for _, i := range image.Products(s.release) {
		if i.Name == s.bill {
			return image.WriteBill(i, s.root, s.options.Source)
		}
	}
	return fmt.Errorf("-bill %q: want one of our images, such as moq-relay", s.bill)
}
