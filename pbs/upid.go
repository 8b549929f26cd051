package pbs

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// UPID is the name of a task. PBS writes one field more than PVE, the task id:
// UPID:node:pid:pstart:task_id:starttime:type:id:auth: with hexadecimal numbers
// and an escaped id.
type UPID struct {
	Node    string
	Started time.Time // whole seconds
	Type    string    // "backup", "verificationjob", "garbage_collection", …
	ID      string    // what it works on, unescaped: "usb:vm/101"; may be empty
	User    string    // who started it: user@realm or user@realm!token
}

// ParseUPID reads the UPID of a PBS task.
func ParseUPID(upid string) (UPID, error) {
	bad := func(what string) (UPID, error) {
		return UPID{}, fmt.Errorf("%.200q is no UPID of a Proxmox Backup Server: %s", upid, what)
	}
	part := strings.Split(upid, ":")
	if len(part) != 10 || part[0] != "UPID" || part[9] != "" {
		return bad("it needs the form UPID:node:pid:pstart:task:start:type:id:user:")
	}
	if part[1] == "" || part[6] == "" || part[8] == "" {
		return bad("its node, type or user is empty")
	}
	for _, field := range part[2:5] {
		if _, err := strconv.ParseUint(field, 16, 64); err != nil {
			return bad("its pid, pstart and task number are not hexadecimal")
		}
	}
	start, err := strconv.ParseUint(part[5], 16, 63)
	if err != nil || start > lastSecond {
		return bad("its start is no time")
	}
	id, err := unescapeID(part[7])
	if err != nil {
		return bad(err.Error())
	}
	return UPID{
		Node: part[1], Started: number{value: int64(start)}.time(),
		Type: part[6], ID: id, User: part[8],
	}, nil
}

// unescapeID undoes systemd's escaping of unit names: "-" stands for "/" and
// \x3a for ":".
func unescapeID(id string) (string, error) {
	if !strings.ContainsAny(id, `-\`) {
		return id, nil
	}
	var out strings.Builder
	for i := 0; i < len(id); i++ {
		switch {
		case id[i] == '-':
			out.WriteByte('/')
		case id[i] != '\\':
			out.WriteByte(id[i])
		case i+3 < len(id) && id[i+1] == 'x':
			c, err := strconv.ParseUint(id[i+2:i+4], 16, 8)
			if err != nil {
				return "", fmt.Errorf("its id has a bad escape at byte %d", i)
			}
			out.WriteByte(byte(c))
			i += 3
		default:
			return "", fmt.Errorf("its id has a bad escape at byte %d", i)
		}
	}
	return out.String(), nil
}
