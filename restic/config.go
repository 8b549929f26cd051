// Package restic surveys and acts on restic repositories through the restic
// binary, whichever supported version is installed.
package restic

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/secret"
)

// Config is the table [restic.NAME]: one repository.
type Config struct {
	Repository string                   `toml:"repository"`
	Password   secret.Source            `toml:"password"`
	Env        map[string]secret.Source `toml:"env"`       // what its backend needs, such as AWS_ACCESS_KEY_ID
	Paths      []string                 `toml:"paths"`     // what is backed up
	CopyFrom   string                   `toml:"copy_from"` // or the [restic.NAME] that it copies
	Disk       string                   `toml:"disk"`
	Site       string                   `toml:"site"`
	Every      backup.Duration          `toml:"every"`
	Grace      backup.Duration          `toml:"grace"` // 0: every/24
	Keep       backup.Keep              `toml:"keep"`
	RunBy      *RunBy                   `toml:"run_by"` // somebody else runs it: watched only
	Match      Match                    `toml:"match"`
	Exclude    []string                 `toml:"exclude"`

	PruneEvery  backup.Duration `toml:"prune_every"`  // 0: 7 days
	CheckWithin backup.Duration `toml:"check_within"` // in which all of it is read, a part each run; 0: 30 days

	Binary string `toml:"binary"` // empty: restic in PATH
}

// RunBy names who runs a job which is not ours, and what tells of it. restic itself
// keeps no record of a check.
type RunBy struct {
	Unit       string `toml:"unit"`
	CheckUnit  string `toml:"check_unit"`  // the unit that checks the repository; empty: none is known
	StatusFile string `toml:"status_file"` // of resticprofile; empty: none
	Profile    string `toml:"profile"`     // whose entry in it counts
}

// Match tells which snapshots of a shared repository are ours; empty: all.
type Match struct {
	Hosts []string `toml:"hosts"`
	Tags  []string `toml:"tags"`
}

// remote matches the location of a repository that is not a local directory.
var remote = regexp.MustCompile(`^(sftp|rest|s3|gs|azure|swift|b2|rclone):`)

// Dir returns the directory of a local repository; empty: it is remote.
func (c Config) Dir() string {
	if c.Repository == "" || remote.MatchString(c.Repository) {
		return ""
	}
	return filepath.Clean(strings.TrimPrefix(c.Repository, "local:"))
}

// Where returns the repository's location without a password that it may hold.
func (c Config) Where() string {
	if _, password := c.userinfo(); password == "" {
		return c.Repository
	}
	scheme, address := cutScheme(c.Repository)
	u, err := url.Parse(address)
	if err != nil {
		return scheme + ":" + secret.Redacted
	}
	return scheme + ":" + u.Redacted()
}

// userinfo returns the user and password in the repository's URL.
func (c Config) userinfo() (user, password string) {
	_, address := cutScheme(c.Repository)
	u, err := url.Parse(address)
	if err != nil || u.User == nil {
		if strings.Contains(address, "@") && !strings.HasPrefix(c.Repository, "sftp:") && c.Dir() == "" {
			return "", address // not to be read as a URL: all of it may be secret
		}
		return "", ""
	}
	password, _ = u.User.Password()
	return u.User.Username(), password
}

func cutScheme(repository string) (scheme, address string) {
	if m := remote.FindString(repository); m != "" {
		return strings.TrimSuffix(m, ":"), repository[len(m):]
	}
	return "local", repository
}

// OffSite says whether the repository lies on another site than home.
func (c Config) OffSite() bool { return c.Site != "" && c.Site != backup.HomeSite }

// Source is the configured name of a repository as facts carry it.
func Source(name string) string { return "restic." + name }
