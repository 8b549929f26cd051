package pg

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// label is a backup_label file.
type label struct {
	startWAL    string
	timeline    uint32
	taken       time.Time // zero: not known
	incremental bool
	start, from string // LSN at which it begins, and at which the one begins that it rests on
}

func (l label) into(b *BaseBackup) {
	b.StartWAL, b.Timeline, b.Taken, b.Incremental, b.start, b.from = l.startWAL, l.timeline, l.taken, l.incremental, l.start, l.from
}

var labelStart = regexp.MustCompile(`^START WAL LOCATION: ([0-9A-F]+/[0-9A-F]+) \(file ([0-9A-F]{24})\)`)

// parseLabel reads a backup_label. Its time bears the abbreviation of the
// server's log_timezone, which is only understood where it is zone's or UTC.
func parseLabel(text []byte, zone *time.Location) (label, bool) {
	var l label
	for _, line := range strings.Split(string(text), "\n") {
		if m := labelStart.FindStringSubmatch(line); m != nil {
			l.start, l.startWAL = m[1], m[2]
			l.timeline = hex32(m[2][:8])
		}
		if rest, ok := strings.CutPrefix(line, "START TIME: "); ok {
			l.taken = parseStamp(strings.TrimSpace(rest), zone)
		}
		if rest, ok := strings.CutPrefix(line, "START TIMELINE: "); ok {
			if n, err := strconv.ParseUint(strings.TrimSpace(rest), 10, 32); err == nil {
				l.timeline = uint32(n)
			}
		}
		if strings.HasPrefix(line, "INCREMENTAL FROM") {
			l.incremental = true
		}
		if rest, ok := strings.CutPrefix(line, "INCREMENTAL FROM LSN: "); ok {
			l.from = strings.TrimSpace(rest)
		}
	}
	return l, l.startWAL != ""
}

// parseStamp reads "2026-11-21 19:49:48 CET"; zero when its zone is not known:
// an abbreviation alone means different things in different places.
func parseStamp(text string, zone *time.Location) time.Time {
	for _, layout := range []string{"2006-01-02 15:04:05 -07", "2006-01-02 15:04:05 -07:00", "2006-01-02 15:04:05 -0700"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t
		}
	}
	t, err := time.ParseInLocation("2006-01-02 15:04:05 MST", text, zone)
	if err != nil {
		return time.Time{}
	}
	name, offset := t.Zone()
	if at, actual := t.In(zone).Zone(); at == name && actual == offset || name == "UTC" || name == "GMT" {
		return t
	}
	return time.Time{}
}

// manifest is a backup_manifest.
type manifest struct {
	SystemID int64          `json:"System-Identifier"` // since PostgreSQL 17; 0: not said
	Files    []manifestFile `json:"Files"`
	Ranges   []struct {
		Timeline uint32 `json:"Timeline"`
		Start    string `json:"Start-LSN"`
		End      string `json:"End-LSN"`
	} `json:"WAL-Ranges"`
	Checksum string `json:"Manifest-Checksum"`
}

// incremental says whether files are in the backup that tell only what changed.
func (m manifest) incremental() bool {
	return slices.ContainsFunc(m.Files, func(f manifestFile) bool { return strings.HasPrefix(path.Base(f.Path), "INCREMENTAL.") })
}

// manifestFile is a file that a backup_manifest names.
type manifestFile struct {
	Path    string `json:"Path"`
	Encoded string `json:"Encoded-Path"` // in hexadecimal, where the path is no UTF-8
	Size    int64  `json:"Size"`

	Algorithm string `json:"Checksum-Algorithm"` // empty: no checksum
	Checksum  string `json:"Checksum"`
}

const checksumLine = `"Manifest-Checksum"`

// parseManifest reads a backup_manifest and compares its own checksum: SHA-256
// of everything before its last line.
func parseManifest(text []byte) (manifest, error) {
	var m manifest
	at := bytes.LastIndex(text, []byte(checksumLine))
	if at < 0 {
		return m, errors.New("backup_manifest has no end: it was cut")
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("backup_manifest is no JSON: %w", err)
	}
	sum := sha256.Sum256(text[:at])
	if !strings.EqualFold(hex.EncodeToString(sum[:]), m.Checksum) {
		return m, errors.New("backup_manifest was changed: its checksum differs")
	}
	return m, nil
}

// inside is where the file lies in the backup.
func (f manifestFile) inside() string {
	if f.Encoded == "" {
		return f.Path
	}
	raw, err := hex.DecodeString(f.Encoded)
	if err != nil {
		return f.Path
	}
	return string(raw)
}
