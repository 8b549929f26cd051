package proxmox

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"cairn/internal/backup"
)

// UPID is a task's id, taken apart:
// UPID:node:pid:pstart:starttime:type:id:user: with the numbers in hex.
type UPID struct {
	Node    string
	Started time.Time // the node's clock
	Type    string    // "qmrollback", "vzdump", …
	ID      string    // mostly a VMID; empty for a vzdump of several guests
	User    string    // user@realm, or user@realm!token
}

// ParseUPID takes a task's id apart.
func ParseUPID(s string) (UPID, error) {
	bad := func(why string) (UPID, error) {
		return UPID{}, fmt.Errorf("%.200q is no task id of Proxmox VE: %s", s, why)
	}
	f := strings.Split(s, ":")
	if len(f) < 9 || f[0] != "UPID" || f[len(f)-1] != "" {
		return bad("it is not written UPID:node:pid:pstart:starttime:type:id:user:")
	}
	if f[1] == "" || strings.ContainsAny(f[1], "/?#% ") || strings.ContainsAny(s, "\r\n/?#") {
		return bad("its node is no host name")
	}
	seconds, err := strconv.ParseUint(f[4], 16, 40)
	if err != nil || f[5] == "" {
		return bad("its start time or type is missing")
	}
	// A user's name may hold colons, an id may not: PVE escapes those.
	return UPID{Node: f[1], Started: time.Unix(int64(seconds), 0), Type: f[5], ID: f[6],
		User: strings.Join(f[7:len(f)-1], ":")}, nil
}

// VMID is the guest that the task is about; 0 where it names none. An imgdel's
// id is "100@storage".
func (u UPID) VMID() int { return leadingVMID(u.ID) }

func leadingVMID(id string) int {
	end := strings.IndexFunc(id, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(id)
	}
	n, err := strconv.ParseInt(id[:end], 10, 32)
	if err != nil || end < len(id) && id[end] != '@' {
		return 0
	}
	return int(n)
}

// ExitStatus judges a task's exit text: OK, "WARNINGS: n" is done with warnings,
// none is unknown, and anything else is the error itself.
func ExitStatus(exit string) backup.Status {
	switch {
	case exit == "OK":
		return backup.OK
	case strings.HasPrefix(exit, "WARNINGS: "):
		return backup.Warning
	case exit == "":
		return backup.Unknown
	}
	return backup.Critical
}
