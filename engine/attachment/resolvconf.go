package attachment

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"

	"weft/engine/fault"
)

// resolvText is what a file for resolvers says, as in a container
// (resolv.conf(5)).
func resolvText(resolver netip.Addr) []byte {
	return fmt.Appendf(nil, "nameserver %s\noptions ndots:0\n", resolver)
}

// checkResolvConf refuses a file that is there: it is somebody's, the host's
// own among them.
func checkResolvConf(path string) error {
	if path == "" {
		return nil
	}
	if !filepath.IsAbs(path) {
		return fault.Invalid("resolver configuration %s: give its absolute path", path)
	}
	_, err := os.Lstat(path)
	if err == nil {
		return fault.Conflict("%s exists and is not touched: name a file that is to be made, or leave it out and write the nameserver into that one yourself", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fault.Invalid("resolver configuration: %w", err)
	}
	return nil
}

// lacksDir reports whether the directory of a file is to be made with it: that
// of /etc/netns/NAME/resolv.conf is rarely there.
func lacksDir(path string) bool {
	if path == "" {
		return false
	}
	_, err := os.Stat(filepath.Dir(path))
	return errors.Is(err, fs.ErrNotExist)
}

// writeResolvConf makes the file, and its directory where the record says so.
func writeResolvConf(rec Record) error {
	if rec.ResolvConf == "" {
		return nil
	}
	if !rec.Resolver.IsValid() {
		return fault.Invalid("there are no names on network %s: leave the resolver configuration out", rec.Network)
	}
	if rec.MadeDir {
		if err := os.Mkdir(filepath.Dir(rec.ResolvConf), 0o755); err != nil && !errors.Is(err, fs.ErrExist) { //nolint:gosec // everybody who resolves names needs it
			return fault.Invalid("make the directory of a resolver configuration: %w", err)
		}
	}
	f, err := os.OpenFile(rec.ResolvConf, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // likewise
	if err != nil {
		return fault.Invalid("make the resolver configuration: %w", err)
	}
	_, err = f.Write(resolvText(rec.Resolver))
	if err := errors.Join(err, f.Close()); err != nil {
		return fault.Internal("write the resolver configuration: %w", err)
	}
	return nil
}

// removeResolvConf removes the file unless somebody has written to it since.
func removeResolvConf(rec Record) error {
	if rec.ResolvConf == "" {
		return nil
	}
	text, err := os.ReadFile(rec.ResolvConf)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fault.Internal("look at the resolver configuration: %w", err)
	case bytes.Equal(text, resolvText(rec.Resolver)):
		if err := os.Remove(rec.ResolvConf); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fault.Internal("remove the resolver configuration: %w", err)
		}
	}
	if rec.MadeDir {
		return removeEmpty(filepath.Dir(rec.ResolvConf))
	}
	return nil
}

// removeEmpty removes a directory if nothing is in it.
func removeEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) > 0 {
		return nil //nolint:nilerr // it is gone, or somebody's
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fault.Internal("remove the directory of a resolver configuration: %w", err)
	}
	return nil
}
