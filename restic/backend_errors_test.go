package restic

import (
	"strings"
	"testing"
)

// What the backends of restic 0.9 to 0.19 say, word by word but for names. Each also
// asks whether there is a repository at the place, whatever the reason.
func TestWhatBackendsSay(t *testing.T) {
	const asks = "\nIs there a repository at the following location?\nb2:lab:nas"
	for said, want := range map[string]Kind{
		// that nothing is there
		"Fatal: unable to open config file: Stat: The specified key does not exist." + asks:                                        Missing,
		"Fatal: unable to open config file: stat /mnt/usb/restic/config: no such file or directory" + asks:                         Missing,
		"Fatal: unable to open config file: Lstat nas/restic/config: file does not exist" + asks:                                   Missing,
		"Fatal: unable to open config file: <config/> does not exist" + asks:                                                       Missing,
		"Fatal: unable to open config file: Stat: b2_download_file_by_name: 404: bucket lab does not have file: nas/config" + asks: Missing,
		"Fatal: unable to open config file: unexpected HTTP response (404): 404 Not Found" + asks:                                  Missing,
		"Fatal: unable to open config file: Stat: storage: object doesn't exist" + asks:                                            Missing,
		"Fatal: unable to open config file: Stat: The specified bucket does not exist" + asks:                                      Missing,
		"Fatal: repository does not exist: unable to open config file: Lstat nas/config: file does not exist" + asks:               Missing,
		// that the server refused
		"Fatal: unable to open config file: Stat: 401 " + asks:                                                                                                 Denied,
		"Fatal: unable to open config file: Stat: b2_download_file_by_name: 401:" + asks:                                                                       Denied,
		"Fatal: unable to open repository at b2:lab:nas: b2.NewClient: b2_authorize_account: 401: Invalid authorization token":                                 Denied,
		"Fatal: unable to open config file: Stat: b2_download_file_by_name: 403: Transaction cap exceeded, see the Caps page" + asks:                           Denied,
		"Fatal: unable to open config file: Stat: The difference between the request time and the server's time is too large." + asks:                          Denied,
		"Fatal: unable to open config file: Stat: Head https://lab.s3.example.net/nas/config: 301 response missing Location header" + asks:                     Denied,
		"Fatal: unable to open repository at s3:s3.example.net/lab: no credentials found. Use `-o s3.unsafe-anonymous-auth=true` for anonymous authentication": Denied,
		"Fatal: unable to open config file: Stat: googleapi: Error 403: lab@example.iam does not have storage.objects.get access" + asks:                       Denied,
		// that it did not answer
		"Fatal: unable to open config file: Stat: Head https://s3.example.net/lab/nas/config: dial tcp: lookup s3.example.net: no such host" + asks: Unreachable,
		"Fatal: unable to open config file: Stat: 503 Service Unavailable" + asks:                                                                   Unreachable,
		"Fatal: unable to start the sftp session, error: EOF":                                                                                       Unreachable,
		// something else, of which nobody should make a new repository
		"Fatal: unable to open config file: Stat: The operation is not valid for the object's storage class" + asks: Failed,
		"Fatal: unable to open config file: Stat: an internal error" + asks:                                         Failed,
		// a lock that could not be made is not somebody else's
		"Fatal: unable to create lock in backend: repository is already locked by PID 4711 on nas by root (UID 0, GID 0)":      Locked,
		"Fatal: unable to create lock in backend: open /mnt/usb/restic/locks/ab12-tmp-1: no space left on device":              Full,
		"Fatal: unable to create lock in backend: open /mnt/usb/restic/locks/ab12-tmp-1: read-only file system":                Denied,
		"Fatal: unable to create lock in backend: blob not saved: server response unexpected: 500 Internal Server Error (500)": Unreachable,
		// no room
		"Fatal: unable to save snapshot: b2_upload_file: 403: Cannot upload files, storage cap exceeded. See the Caps & Alerts page":    Full,
		"Fatal: unable to save snapshot: googleapi: Error 403: The user's Drive storage quota has been exceeded., storageQuotaExceeded": Full,
		// damage, said twice fatal
		"Fatal: Fatal: config cannot be loaded: ciphertext verification failed":    Damaged,
		"Fatal: config or key 12345678 is damaged: ciphertext verification failed": Damaged,
		// numbers that are no answers of a server
		"error for tree cd1aaff0: file \"a\" blob 401 size could not be found": Failed,
	} {
		for form, text := range map[string]string{"text": said, "JSON": `{"message_type":"exit_error","code":1,"message":` + quote(said) + `}`} {
			w := heard([]byte(text))
			if got := classify(w.code, w.last()); got != want || strings.Contains(w.last(), "Fatal") {
				t.Errorf("%s: %q is %q, want %q (last words %q)", form, said, got, want, w.last())
			}
		}
	}
}

func quote(text string) string {
	return `"` + strings.NewReplacer(`"`, `\"`, "\n", `\n`).Replace(text) + `"`
}

// Azure says why in the sixth line, and the first one is the request.
func TestWhatAzureSays(t *testing.T) {
	const lines = "Fatal: unable to open config file: Stat: HEAD https://lab.blob.core.windows.net/nas/config\n" +
		"--------------------------------------------------------------------------------\n" +
		"RESPONSE 403: 403 This request is not authorized to perform this operation.\nERROR CODE: AuthorizationFailure\n" +
		"--------------------------------------------------------------------------------\nResponse contained no body"
	for _, text := range []string{lines, `{"message_type":"exit_error","code":1,"message":` + quote(lines) + `}`} {
		w := heard([]byte(text))
		if got := classify(w.code, w.last()); got != Denied || !strings.Contains(w.last(), "AuthorizationFailure") || strings.Contains(w.last(), "---") {
			t.Errorf("it is %q: %q", got, w.last())
		}
	}
}

// What rclone says of a remote whose token has run out.
func TestExpiredTokenOfRclone(t *testing.T) {
	w := heard([]byte("rclone: 2026/11/21 20:00:00 CRITICAL: Failed to create file system for \"drive:lab\": couldn't find root directory ID: couldn't fetch token: invalid_grant: maybe token expired? - try refreshing with \"rclone config reconnect drive:\"\n" +
		"Fatal: unable to open repository at rclone:drive:lab: error talking HTTP to rclone: exit status 1"))
	if got := classify(w.code, w.last()); got != Denied || !strings.Contains(w.last(), "reconnect") {
		t.Errorf("it is %q: %q", got, w.last())
	}
}
