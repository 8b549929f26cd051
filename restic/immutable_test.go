package restic

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/command"
	"cairn/internal/secret"
	"cairn/internal/testkit"
)

// TestImmutableDirectory marks a local repository as chattr does.
func TestImmutableDirectory(t *testing.T) {
	repo := t.TempDir()
	testkit.ResticRepository(t, repo)
	c := client(t, Config{Repository: repo, Binary: versions(t)["0.18.1"]})
	if facts := survey(t, c); facts.Keeps != "" {
		t.Errorf("nothing keeps it: %q", facts.Keeps)
	}
	for flag, words := range map[string]string{"a": "append-only (chattr +a)", "i": "immutable (chattr +i)"} {
		dir := filepath.Join(repo, "data")
		if r, err := command.Run(t.Context(), command.Spec{Argv: []string{"chattr", "+" + flag, dir}}); err != nil {
			testkit.Need(t, "root, and a file system with attributes ("+string(r.Stderr)+")")
		}
		facts := survey(t, client(t, Config{Repository: repo, Binary: versions(t)["0.18.1"]}))
		if _, err := command.Run(t.Context(), command.Spec{Argv: []string{"chattr", "-" + flag, dir}}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(facts.Keeps, words) {
			t.Errorf("+%s: %q", flag, facts.Keeps)
		}
	}
}

// TestObjectLock asks a real gateway, before and after a lock was configured.
func TestObjectLock(t *testing.T) {
	address := gateway(t)
	account := map[string]string{"AWS_ACCESS_KEY_ID": "anna", "AWS_SECRET_ACCESS_KEY": "s3-secret-value"}
	call := func(method, target, body string, headers ...string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+address+target, bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatal(err)
		}
		sum := md5.Sum([]byte(body))
		r.Header.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		signS3(r, account, []byte(body), time.Now())
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if text, _ := io.ReadAll(answer.Body); answer.StatusCode >= 300 {
			t.Fatalf("%s %s: %s %s", method, target, answer.Status, text)
		}
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	call(http.MethodPut, "/locked", "", "X-Amz-Bucket-Object-Lock-Enabled", "true")
	asked := func(bucket, key string) (string, error) {
		return client(t, Config{Repository: "s3:http://" + address + "/" + bucket + "/r", Env: map[string]secret.Source{
			"AWS_ACCESS_KEY_ID": {File: passwordFile(t, "anna")}, "AWS_SECRET_ACCESS_KEY": {File: passwordFile(t, key)}}}).objectLock(t.Context())
	}
	if text, err := asked("home-lab", "s3-secret-value"); text != "" || err != nil {
		t.Errorf("a bucket without a lock: %q, %v", text, err)
	}
	if text, err := asked("locked", "s3-secret-value"); !strings.Contains(text, "object lock without a default retention") || err != nil {
		t.Errorf("a bucket with a lock: %q, %v", text, err)
	}
	call(http.MethodPut, "/locked?object-lock=", `<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>30</Days></DefaultRetention></Rule></ObjectLockConfiguration>`)
	if text, err := asked("locked", "s3-secret-value"); !strings.Contains(text, "30 days from its upload (object lock, compliance)") || strings.Contains(text, "Bypass") || err != nil {
		t.Errorf("a lock of 30 days: %q, %v", text, err)
	}
	if text, err := asked("locked", "another"); text != "" || err == nil || !strings.Contains(err.Error(), "is not visible: 403") {
		t.Errorf("an account that is refused: %q, %v", text, err)
	}
}

// What is not known is said to be that, and a lock that can be got round too.
func TestWhatAnObjectLockDoesNotHold(t *testing.T) {
	text, err := parseObjectLock([]byte("<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Years>2</Years></DefaultRetention></Rule></ObjectLockConfiguration>"))
	if err != nil || !strings.Contains(text, "2 years from its upload") || !strings.Contains(text, "held no more") || !strings.Contains(text, "s3:BypassGovernanceRetention") {
		t.Errorf("got %q, %v", text, err)
	}
	for repository, want := range map[string]string{"s3:https://s3.example.net/home-lab": "env holds no AWS_ACCESS_KEY_ID", "rest:http://127.0.0.1:1/": "", "sftp:nas:/r": ""} {
		keeps, unknown := client(t, Config{Repository: repository}).keeps(t.Context())
		if keeps != "" || !strings.Contains(unknown, want) || want == "" && unknown != "" {
			t.Errorf("%s: %q, %q", repository, keeps, unknown)
		}
	}
}

func TestBucketURL(t *testing.T) {
	for repository, want := range map[string]string{
		"s3:https://s3.example.net/home-lab": "https://s3.example.net/home-lab", "s3:http://127.0.0.1:9000/b/deep/path": "http://127.0.0.1:9000/b",
		"s3:s3.amazonaws.com/bucket/x": "https://s3.amazonaws.com/bucket", "s3:https://s3.example.net/": "", "s3:": "", "s3:http://[": "",
	} {
		u, err := bucketURL(repository)
		if got := ""; err == nil {
			if got = u.String(); got != want {
				t.Errorf("%s is %s", repository, got)
			}
		} else if want != "" {
			t.Errorf("%s: %v", repository, err)
		}
	}
}

func FuzzObjectLock(f *testing.F) {
	for _, seed := range []string{"", "<a/>", "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>GOVERNANCE</Mode><Years>2</Years></DefaultRetention></Rule></ObjectLockConfiguration>",
		"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>", "<ObjectLockConfiguration><Rule><DefaultRetention><Days>x"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if said, err := parseObjectLock(text); err != nil && said != "" {
			t.Errorf("%q and %v", said, err)
		}
	})
}
