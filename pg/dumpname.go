package pg

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// dumpName is the name of a dump's file or directory, taken apart.
type dumpName struct {
	Stem       string // what is left: usually the database
	Taken      time.Time
	HasDate    bool   // Taken is at least the right day
	HasTime    bool   // and the right minute
	Format     string // custom, plain, tar, directory; empty: not known from the name
	Packed     string // ".gz", …
	Encrypted  bool
	Unfinished bool // the name says that it is still being written
	Sidecar    bool // a checksum or a log beside a dump
}

var (
	writingEnd = []string{".part", ".partial", ".tmp", ".temp", ".incomplete", ".inprogress", ".in-progress", ".writing", ".new"}
	sidecarEnd = []string{".sha256", ".sha256sum", ".sha512", ".sha1", ".md5", ".md5sum", ".log", ".txt", ".json", ".err", ".sig", ".list", ".toc"}
	secretEnd  = []string{".gpg", ".age", ".asc", ".enc", ".pgp"}
	packedEnd  = []string{".gz", ".zst", ".zstd", ".lz4", ".bz2", ".xz"}
	formatEnd  = map[string]string{
		".dump": "custom", ".dmp": "custom", ".pgdump": "custom", ".custom": "custom", ".backup": "custom", ".fc": "custom", ".bak": "custom", ".pgc": "custom",
		".sql": "plain", ".psql": "plain", ".tar": "tar", ".dir": "directory", ".fd": "directory", ".d": "directory",
	}
)

// parseDumpName takes the name of a dump apart, as scripts write it:
// shop_2026-11-21.dump, shop-20261121-0130.sql.gz, 2026-11-21T013000Z_shop.tar.
// Dates without a zone are in zone.
func parseDumpName(name string, zone *time.Location) dumpName {
	var d dumpName
	name, d.Unfinished = cutEnd(name, writingEnd)
	if strings.HasPrefix(name, ".") {
		d.Unfinished, name = true, name[1:] // rsync and careful scripts write to a hidden name
	}
	if _, d.Sidecar = cutEnd(name, sidecarEnd); d.Sidecar {
		return d
	}
	name, d.Encrypted = cutEnd(name, secretEnd)
	if rest, ok := strings.CutSuffix(name, ".tgz"); ok {
		name = rest + ".tar.gz"
	}
	for _, end := range packedEnd {
		if rest, ok := strings.CutSuffix(name, end); ok {
			name, d.Packed = rest, end
			break
		}
	}
	if dot := strings.LastIndexByte(name, '.'); dot >= 0 {
		if format, ok := formatEnd[strings.ToLower(name[dot:])]; ok {
			name, d.Format = name[:dot], format
		}
	}
	d.Stem = name
	d.date(zone)
	return d
}

func cutEnd(name string, ends []string) (string, bool) {
	for _, end := range ends {
		if len(name) > len(end) && strings.HasSuffix(strings.ToLower(name), end) {
			return name[:len(name)-len(end)], true
		}
	}
	return name, false
}

const (
	dayPart  = `(\d{4})[-_.]?(\d{2})[-_.]?(\d{2})`
	timePart = `(?:[T_ .@-]{0,2}(\d{2})[-:.hH_]?(\d{2})(?:[-:.mM_]?(\d{2})(?:[.,]\d{1,9})?)?[sm]?(Z|[+-]\d{2}:?\d{2})?)?`
	separate = `[_.@ -]`
)

var (
	dateBehind = regexp.MustCompile(`(?:^|` + separate + `)` + dayPart + timePart + `$`)
	dateBefore = regexp.MustCompile(`^` + dayPart + timePart + `(?:` + separate + `|$)`)
	dayFirst   = regexp.MustCompile(separate + `\d{2}[-.]\d{2}[-.]\d{4}(?:` + separate + `\d{2}[-:._]?\d{2}(?:[-:._]?\d{2})?)?$`)
	unixTime   = regexp.MustCompile(separate + `(\d{10})(?:\d{3})?$`) // in seconds or milliseconds
	weekday    = regexp.MustCompile(`(?i)` + separate + `(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?$`)

	// autopostgresqlbackup writes the weekday, week or month around its date:
	// shop_2026-11-21_06h25m.Saturday, shop_week.47.2026-11-21_06h25m,
	// shop_2026-11-01_06h25m.November.shop; the words are of the host's language.
	around = regexp.MustCompile(`^(.+?)_(?:week\.\d{1,2}\.)?(\d{4}-\d{2}-\d{2}_\d{2}h\d{2}m)(?:\..*)?$`)
	// Immich writes versions behind it: immich-db-backup-20261121T020000-v2.3.1-pg14.19.
	versions = regexp.MustCompile(`-v\d+(?:\.\d+)+-pg\d+(?:\.\d+)*$`)
	// periodNumber is a week or month of the year, as postgres-backup-local writes
	// them in directories of that name: weekly/shop-202647, monthly/shop-202611.
	periodNumber = regexp.MustCompile(`^(.+)[-_.]\d{6}$`)
)

// date cuts the date off the stem. One whose order of day and month is not
// certain is cut off and not believed.
func (d *dumpName) date(zone *time.Location) {
	if m := around.FindStringSubmatch(d.Stem); m != nil {
		d.Stem = m[1] + "_" + m[2]
	}
	d.Stem = versions.ReplaceAllString(d.Stem, "")
	// A database may end in digits that look like the beginning of a date: where
	// the first match is none, a later one may be.
	for from := 0; from < len(d.Stem); {
		at := dateBehind.FindStringSubmatchIndex(d.Stem[from:])
		if at == nil {
			break
		}
		if d.cut(at, from, zone) {
			return
		}
		from += at[0] + 1
	}
	if at := dateBefore.FindStringSubmatchIndex(d.Stem); at != nil && d.cut(at, 0, zone) {
		return
	}
	if m := unixTime.FindStringSubmatchIndex(d.Stem); m != nil {
		n, err := strconv.ParseInt(d.Stem[m[2]:m[3]], 10, 64)
		if t := time.Unix(n, 0); err == nil && t.Year() >= 2005 && t.Year() < 2100 {
			d.Taken, d.HasDate, d.HasTime, d.Stem = t, true, true, d.Stem[:m[0]]
			return
		}
	}
	for _, pattern := range []*regexp.Regexp{dayFirst, weekday} {
		if at := pattern.FindStringIndex(d.Stem); at != nil && at[0] > 0 {
			d.Stem = d.Stem[:at[0]]
			return
		}
	}
}

// cut takes a match that begins from bytes into the stem as its date, if it is one.
func (d *dumpName) cut(at []int, from int, zone *time.Location) bool {
	group := func(i int) string {
		if at[2*i] < 0 {
			return ""
		}
		return d.Stem[from+at[2*i] : from+at[2*i+1]]
	}
	taken, hasTime, ok := dateOf(group, zone)
	if ok {
		d.Taken, d.HasDate, d.HasTime = taken, true, hasTime
		d.Stem = strings.Trim(d.Stem[:from+at[0]]+d.Stem[from+at[1]:], "_.@- ")
	}
	return ok
}

// dateOf makes a time of the groups of dayPart and timePart.
func dateOf(group func(int) string, zone *time.Location) (at time.Time, hasTime, ok bool) {
	n := func(i int) int {
		v, _ := strconv.Atoi(group(i)) // the pattern made sure, and empty is 0
		return v
	}
	if z := group(7); z == "Z" {
		zone = time.UTC
	} else if z != "" {
		t, err := time.Parse("-0700", strings.Replace(z, ":", "", 1))
		if err != nil {
			return at, false, false
		}
		zone = t.Location()
	}
	at = time.Date(n(1), time.Month(n(2)), n(3), n(4), n(5), n(6), 0, zone)
	// A daylight-saving change may move the hour, nothing may move the day.
	same := at.Year() == n(1) && int(at.Month()) == n(2) && at.Day() == n(3)
	ok = same && n(1) >= 1995 && n(1) < 2200 && n(4) < 24 && n(5) < 60 && n(6) < 61
	return at, group(4) != "", ok
}
