package dockerapi

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"

	"github.com/docker/docker/api/types/container"

	"weft/engine/fault"
)

// pathHeader says what is at a path, in base64 of JSON.
const pathHeader = "X-Docker-Container-Path-Stat"

// tarType is the media type of the archives of files.
const tarType = "application/x-tar"

func setPathStat(w http.ResponseWriter, st container.PathStat) {
	text, _ := json.Marshal(st) // has nothing that can't be
	w.Header().Set(pathHeader, base64.StdEncoding.EncodeToString(text))
}

// archivePath gives the path a request is about.
func archivePath(r *request) (string, error) {
	path := r.query.Get("path")
	if path == "" {
		return "", fault.Invalid("bad parameter: path cannot be empty")
	}
	return path, nil
}

func (s *Server) pathStat(w *response, r *request) error {
	path, err := archivePath(r)
	if err != nil {
		return err
	}
	st, err := s.cfg.Files.StatPath(r.Context(), r.vars["name"], path)
	if err != nil {
		return err
	}
	setPathStat(w, st)
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) pathRead(w *response, r *request) error {
	path, err := archivePath(r)
	if err != nil {
		return err
	}
	return s.cutShort(w, s.cfg.Files.ReadPath(r.Context(), r.vars["name"], path, func(st container.PathStat) io.Writer {
		setPathStat(w, st)
		return begin(w, tarType)
	}))
}

func (s *Server) pathWrite(w *response, r *request) error {
	path, err := archivePath(r)
	if err != nil {
		return err
	}
	opts := WriteOptions{KeepKind: r.flag("noOverwriteDirNonDir"), OwnedByUser: r.flag("copyUIDGID")}
	if err := s.cfg.Files.WritePath(r.Context(), r.vars["name"], path, r.Body, opts); err != nil {
		return err
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

func (s *Server) containerExport(w *response, r *request) error {
	return s.cutShort(w, s.cfg.Files.Export(r.Context(), r.vars["name"], func() io.Writer {
		return begin(w, "application/octet-stream")
	}))
}

// cutShort ends an archive that went wrong after its beginning so that the
// client does not take it for whole.
func (s *Server) cutShort(w *response, err error) error {
	if err != nil && w.started {
		panic(http.ErrAbortHandler)
	}
	return err
}
