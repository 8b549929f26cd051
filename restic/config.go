// Package restic surveys and acts on restic repositories through the restic
// binary, whichever supported version is installed.
package restic

import (
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
	Binary     string                   `toml:"binary"` // empty: restic in PATH
}

// RunBy names the unit that runs a job which is not ours.
type RunBy struct {
	Unit string `toml:"unit"`
}

// Match tells which snapshots of a shared repository are ours; empty: all.
type Match struct {
	Hosts []string `toml:"hosts"`
	Tags  []string `toml:"tags"`
}
