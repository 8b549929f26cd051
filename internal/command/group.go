package command

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
	"time"
)

// terminate asks a group to end, also when it is stopped.
func terminate(group int) error {
	err := syscall.Kill(-group, syscall.SIGTERM)
	_ = syscall.Kill(-group, syscall.SIGCONT)
	return err
}

// endGroup ends what is left of a group whose leader has just ended: what has
// not gone by until is killed. The number of a group stays taken as long as one
// process is in it; once none is, it is left alone.
func endGroup(group int, until time.Time) {
	if terminate(group) != nil {
		return
	}
	for alive(group) {
		if time.Now().After(until) {
			_ = syscall.Kill(-group, syscall.SIGKILL)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// alive says whether any process of a group runs. One that has ended and that
// nobody has waited for yet does not, although signals still reach it.
func alive(group int) bool {
	if syscall.Kill(-group, 0) == syscall.ESRCH {
		return false
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return true
	}
	for _, entry := range all {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + entry.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state ppid pgrp …; the name may hold anything
		field := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(field) > 2 && string(field[2]) == strconv.Itoa(group) && string(field[0]) != "Z" && string(field[0]) != "X" {
			return true
		}
	}
	return false
}
