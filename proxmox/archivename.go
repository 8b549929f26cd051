package proxmox

import (
	"regexp"
	"strings"
	"time"
)

var (
	fileArchive = regexp.MustCompile(`:backup/vzdump-`)
	namedByPVE  = regexp.MustCompile(`:backup/vzdump-(?:qemu|lxc|openvz)-\d+-\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d\.[a-z.0-9]+$`)
	timeInName  = regexp.MustCompile(`\d{4}_\d\d_\d\d-\d\d_\d\d_\d\d`)
)

// foreign says that the row is no backup of a guest: PVE lists any tar file with a
// number in its name in the directory of backups, as one of a kind that it does not know.
func (a archive) foreign() bool { return a.Kind == "unknown" }

// renamed says that a person gave the archive another name than vzdump did, to keep
// it. PVE takes the time out of vzdump's name, and has of any other only when the
// file was last changed, which the renaming itself was.
func (a archive) renamed() bool {
	return fileArchive.MatchString(string(a.Volume)) && !namedByPVE.MatchString(string(a.Volume))
}

// taken is when the backup was made, as far as is known: of a renamed one by what is
// left of its name, where the clocks of the node and of this host agree, and never
// after the file was last changed.
func (a archive) taken() time.Time {
	at := a.Time.when()
	if !a.renamed() {
		return at
	}
	if t, err := time.ParseInLocation("2006_01_02-15_04_05", timeInName.FindString(string(a.Volume)), time.Local); err == nil && (at.IsZero() || t.Before(at)) {
		return t
	}
	return at
}

// undated says that not even a part of the name tells when a renamed backup was made.
func (a archive) undated() bool { return a.renamed() && !timeInName.MatchString(string(a.Volume)) }

// remark is the notes of a backup, and before them what they should say of its time.
func (a archive) remark() string {
	if a.undated() {
		return strings.TrimSpace("(renamed: its time is when the file was last changed) " + printable(string(a.Notes)))
	}
	return printable(string(a.Notes))
}
