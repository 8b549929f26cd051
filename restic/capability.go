package restic

import (
	"fmt"
	"regexp"
	"strconv"
)

// Ability is something that not every supported version of restic can do.
type Ability int

// The abilities that cairn asks for.
const (
	TypedExits       Ability = iota // 10 missing, 11 locked, 12 wrong password
	Summaries                       // a snapshot keeps what its backup counted
	FullIDs                         // backup's summary gives the whole snapshot id
	JSONCheck                       // check, restore and init write JSON
	RetryLock                       // --retry-lock
	MissingIsPartial                // a source path that is missing ends a backup with 3
	CopyFrom                        // init and copy take --from-repo
)

// since tells the first version with each ability, as measured with 0.14.0,
// 0.18.1 and 0.19.1 and, between these, as restic's change log says.
var since = map[Ability]Version{
	TypedExits:       {0, 17, 1},
	Summaries:        {0, 17, 0},
	FullIDs:          {0, 15, 0},
	JSONCheck:        {0, 18, 0},
	RetryLock:        {0, 16, 0},
	MissingIsPartial: {0, 19, 0},
	CopyFrom:         {0, 14, 0},
}

// Oldest is the oldest version that cairn is tested with.
var Oldest = Version{0, 14, 0}

// Version is a version of the restic binary.
type Version struct{ Major, Minor, Patch int }

// Can says whether the version has the ability.
func (v Version) Can(a Ability) bool {
	first, known := since[a]
	return known && !v.Before(first)
}

// Before says whether v is older than w.
func (v Version) Before(w Version) bool {
	if v.Major != w.Major {
		return v.Major < w.Major
	}
	if v.Minor != w.Minor {
		return v.Minor < w.Minor
	}
	return v.Patch < w.Patch
}

// String writes 0.18.1.
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

var versionLine = regexp.MustCompile(`(?m)^restic (\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?`)

// ParseVersion reads what `restic version` prints, which is plain text in every
// version: "restic 0.18.1 compiled with go1.26.8 on linux/amd64".
func ParseVersion(text []byte) (Version, error) {
	m := versionLine.FindSubmatch(text)
	if m == nil {
		return Version{}, fmt.Errorf("no version of restic in %.80q", text)
	}
	var v Version
	for i, part := range []*int{&v.Major, &v.Minor, &v.Patch} {
		*part, _ = strconv.Atoi(string(m[i+1])) // digits, or nothing for 0
	}
	return v, nil
}
