package proxmox

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// BackupFile is a file or directory inside a guest's backup.
type BackupFile struct {
	Path     string // from the archive on: "/drive-scsi0.img.fidx/part/1/etc/hosts"
	Name     string
	Kind     string // "f", "d", "v": an archive
	Size     int64  // bytes; 0: not known
	Modified time.Time
}

// BackupFiles lists a directory of a backup on a PBS; "/" lists its archives. For a
// VM the node starts a small VM of its own to read the disk, which takes a moment. It
// needs what reading the backup needs.
func (c *Client) BackupFiles(ctx context.Context, p RestorePoint, path string) ([]BackupFile, error) {
	var found rows[struct {
		Path text   `json:"filepath"`
		Name text   `json:"text"`
		Kind text   `json:"type"`
		Size number `json:"size"`
		Time number `json:"mtime"`
	}]
	if err := c.acting.get(ctx, fileRestorePath(p, path, "list"), &found); err != nil {
		return nil, fmt.Errorf("listing %s in %s: %w", path, p.Volume, err)
	}
	var all []BackupFile
	for _, r := range found.all {
		plain, err := base64.StdEncoding.DecodeString(string(r.Path))
		if err != nil {
			return all, fmt.Errorf("listing %s in %s: a path is in a form that is not understood", path, p.Volume)
		}
		all = append(all, BackupFile{Path: string(plain), Name: printable(string(r.Name)), Kind: string(r.Kind), Size: max(int64(r.Size), 0), Modified: r.Time.when()})
	}
	return all, nil
}

func fileRestorePath(p RestorePoint, path, what string) string {
	if path != "/" && path != "" {
		path = base64.StdEncoding.EncodeToString([]byte(path))
	}
	query := url.Values{"volume": {p.Volume}, "filepath": {path}}
	return "/nodes/" + url.PathEscape(p.Node) + "/storage/" + url.PathEscape(p.Storage) + "/file-restore/" + what + "?" + query.Encode()
}

// DownloadFile writes one file of a backup to to, or a directory as a zip archive, and
// returns its size in bytes. It has no time limit of its own: ctx ends it.
func (c *Client) DownloadFile(ctx context.Context, p RestorePoint, path string, to io.Writer) (int64, error) {
	n, err := c.acting.wire.stream(ctx, fileRestorePath(p, path, "download"), to)
	if err != nil {
		return n, fmt.Errorf("reading %s out of %s: %w", path, p.Volume, err)
	}
	return n, nil
}

// stream reads an answer that is no JSON, of any size. A server that does not answer
// at all is passed over; one that breaks off is not asked again.
func (w *wire) stream(ctx context.Context, path string, to io.Writer) (int64, error) {
	if w.broken != nil {
		return 0, &Error{Method: http.MethodGet, Path: path, Local: true, Err: w.broken}
	}
	token, err := w.credential.header(ctx)
	if err != nil {
		return 0, &Error{Method: http.MethodGet, Path: path, Local: true, Err: err}
	}
	var failures []error
	for _, s := range w.servers.inOrder() {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.url.String(), "/")+"/api2/json"+path, nil)
		if err != nil {
			return 0, &Error{Method: http.MethodGet, Path: path, Local: true, Err: err}
		}
		req.Header.Set("Authorization", token)
		res, err := w.transport.RoundTrip(req)
		if err != nil {
			failures = append(failures, s.remember(err))
			continue
		}
		return w.receive(res, path, to)
	}
	return 0, &Error{Method: http.MethodGet, Path: path, Unreachable: true, Err: joined(failures)}
}

func (w *wire) receive(res *http.Response, path string, to io.Writer) (int64, error) {
	defer res.Body.Close()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
		if err != nil {
			body = nil // the status says enough
		}
		return 0, newStatusError(http.MethodGet, path, res.StatusCode, res.Status, body)
	}
	n, err := io.Copy(to, res.Body)
	if err == nil && res.ContentLength >= 0 && n != res.ContentLength {
		err = errors.New("it ended before its time")
	}
	if err != nil {
		return n, &Error{Method: http.MethodGet, Path: path, Err: cutOff(err)}
	}
	return n, nil
}
