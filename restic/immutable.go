package restic

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockAsked is how long an object store may take to say whether it keeps what is removed.
const lockAsked = 10 * time.Second

// keeps says why the repository removes nothing, or keeps for a while what is
// removed; empty: nothing tells. unknown is why that could not be asked. It only
// reads: a rest-server tells nothing before it refuses, and what a provider keeps on
// his side nobody here can see.
func (c *Client) keeps(ctx context.Context) (keeps, unknown string) {
	if c.memory.keepsAsked {
		return c.memory.keeps, ""
	}
	text, err := "", error(nil)
	switch {
	case c.dir != nil:
		text, err = await(ctx, c.dir, func() (string, error) { return immutable(c.dir.path) })
	case strings.HasPrefix(c.cfg.Repository, "s3:"):
		text, err = c.objectLock(ctx)
	}
	c.memory.keeps, c.memory.keepsAsked = text, err == nil
	if err != nil { // which is no reason to say that it does not
		return "", c.secrets.Scrubber.String(err.Error())
	}
	return text, ""
}

// The attributes of files that chattr sets (linux/fs.h).
const (
	flagImmutable = 0x10
	flagAppend    = 0x20
)

// immutable looks at the attributes of a repository's directories. File systems
// without them have none.
func immutable(dir string) (string, error) {
	for _, sub := range []string{"snapshots", "data"} {
		f, err := os.Open(filepath.Join(dir, sub))
		if err != nil {
			return "", err
		}
		flags, err := unix.IoctlGetUint32(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		_ = f.Close()
		switch {
		case err != nil:
			return "", nil
		case flags&flagImmutable != 0:
			return fmt.Sprintf("its directory %s is immutable (chattr +i)", sub), nil
		case flags&flagAppend != 0:
			return fmt.Sprintf("its directory %s is append-only (chattr +a)", sub), nil
		}
	}
	return "", nil
}

// objectLock asks an S3 bucket whether it keeps what is removed (GetObjectLockConfiguration).
func (c *Client) objectLock(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lockAsked)
	defer cancel()
	env, err := c.env(ctx)
	if err != nil {
		return "", err
	}
	account := map[string]string{}
	for _, set := range env {
		name, value, _ := strings.Cut(set, "=")
		account[name] = value
	}
	bucket, err := bucketURL(c.cfg.Repository)
	if err != nil {
		return "", err
	}
	if account["AWS_ACCESS_KEY_ID"] == "" {
		return "", errors.New("whether its bucket has object lock was not asked: env holds no AWS_ACCESS_KEY_ID")
	}
	bucket.RawQuery = "object-lock="
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, bucket.String(), nil)
	if err != nil {
		return "", err
	}
	signS3(r, account, nil, c.now())
	client := &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	answer, err := client.Do(r)
	if err != nil {
		return "", fmt.Errorf("whether its bucket has object lock could not be asked: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	switch {
	case err != nil:
		return "", err
	case answer.StatusCode == http.StatusNotFound:
		return "", nil // it has none
	case answer.StatusCode != http.StatusOK:
		return "", fmt.Errorf("whether its bucket has object lock is not visible: %s (s3:GetBucketObjectLockConfiguration)", answer.Status)
	}
	return parseObjectLock(text)
}

// bucketURL finds the bucket in "s3:https://s3.example.net/bucket/path".
func bucketURL(repository string) (*url.URL, error) {
	text := strings.TrimPrefix(repository, "s3:")
	if !strings.Contains(text, "://") {
		text = "https://" + strings.TrimPrefix(text, "//")
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	bucket, _, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if u.Host == "" || bucket == "" {
		return nil, errors.New("the repository names no bucket")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/" + bucket}, nil
}

// parseObjectLock reads the answer of GetObjectLockConfiguration.
func parseObjectLock(text []byte) (string, error) {
	var lock struct {
		Enabled string `xml:"ObjectLockEnabled"`
		Rule    struct {
			Retention struct {
				Mode  string
				Days  int
				Years int
			} `xml:"DefaultRetention"`
		}
	}
	if err := xml.Unmarshal(text, &lock); err != nil {
		return "", fmt.Errorf("reading the object lock: %w", err)
	}
	r := lock.Rule.Retention
	switch {
	case lock.Enabled != "Enabled":
		return "", nil
	case r.Days > 0:
		return lockText(fmt.Sprintf("%d days", r.Days), r.Mode), nil
	case r.Years > 0:
		return lockText(fmt.Sprintf("%d years", r.Years), r.Mode), nil
	}
	return "its bucket has object lock without a default retention: it holds only objects on which a lock was set one by one, which is not visible from here", nil
}

// lockText says what a default retention holds, and what it does not: it counts
// from the upload of each object, and restic uploads a pack once.
func lockText(long, mode string) string {
	mode = strings.ToLower(mode)
	text := fmt.Sprintf("its bucket keeps each object for %s from its upload (object lock, %s): what is forgotten stays at least that long as an old version, and a pack that was uploaded before is held no more", long, mode)
	if mode == "governance" {
		text += "; an account with s3:BypassGovernanceRetention can remove it all the same"
	}
	return text
}

// signS3 signs a request (AWS Signature Version 4).
func signS3(r *http.Request, account map[string]string, body []byte, now time.Time) {
	region := cmp.Or(account["AWS_DEFAULT_REGION"], account["AWS_REGION"], "us-east-1")
	at, day := now.UTC().Format("20060102T150405Z"), now.UTC().Format("20060102")
	sum := sha256.Sum256(body)
	headers := [][2]string{{"host", r.URL.Host}, {"x-amz-content-sha256", hex.EncodeToString(sum[:])}, {"x-amz-date", at}}
	if token := account["AWS_SESSION_TOKEN"]; token != "" {
		headers = append(headers, [2]string{"x-amz-security-token", token})
	}
	canonical, names := r.Method+"\n"+r.URL.EscapedPath()+"\n"+r.URL.RawQuery+"\n", []string{}
	for _, h := range headers {
		canonical += h[0] + ":" + h[1] + "\n"
		names = append(names, h[0])
		if h[0] != "host" {
			r.Header.Set(h[0], h[1])
		}
	}
	signed := strings.Join(names, ";")
	canonical += "\n" + signed + "\n" + headers[1][1]
	scope := day + "/" + region + "/s3/aws4_request"
	whole := sha256.Sum256([]byte(canonical))
	key := []byte("AWS4" + account["AWS_SECRET_ACCESS_KEY"])
	for _, part := range []string{day, region, "s3", "aws4_request", "AWS4-HMAC-SHA256\n" + at + "\n" + scope + "\n" + hex.EncodeToString(whole[:])} {
		m := hmac.New(sha256.New, key)
		_, _ = m.Write([]byte(part)) // a hash takes everything
		key = m.Sum(nil)
	}
	r.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%x", account["AWS_ACCESS_KEY_ID"], scope, signed, key))
}
