package image

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// file is a file of a layer; it belongs to root, so that the program cannot
// change it.
type file struct {
	path string // absolute
	mode fs.FileMode
	data []byte
}

// layer returns the files, and the folders above them, as a tar archive that
// does not depend on their order.
func layer(files []file, at time.Time) ([]byte, error) {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.path, b.path) })

	var b bytes.Buffer
	w := tar.NewWriter(&b)
	made := map[string]bool{"/": true}
	for _, f := range files {
		for _, folder := range above(f.path) {
			if made[folder] {
				continue
			}
			made[folder] = true
			if err := w.WriteHeader(header(folder+"/", tar.TypeDir, 0o755, 0, at)); err != nil {
				return nil, fmt.Errorf("folder %s: %w", folder, err)
			}
		}
		if err := w.WriteHeader(header(f.path, tar.TypeReg, f.mode, len(f.data), at)); err != nil {
			return nil, fmt.Errorf("file %s: %w", f.path, err)
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, fmt.Errorf("file %s: %w", f.path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// header describes an entry of a layer or an archive; names are relative there.
func header(name string, kind byte, mode fs.FileMode, size int, at time.Time) *tar.Header {
	return &tar.Header{
		Typeflag: kind,
		Name:     strings.TrimPrefix(name, "/"),
		Mode:     int64(mode.Perm()),
		Size:     int64(size),
		ModTime:  at,
		Format:   tar.FormatUSTAR,
	}
}

// above lists the folders that hold p, from the top, without the root.
func above(p string) []string {
	var folders []string
	for d := path.Dir(p); d != "/" && d != "."; d = path.Dir(d) {
		folders = append(folders, d)
	}
	slices.Reverse(folders)
	return folders
}
