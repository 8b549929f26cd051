//go:build faults

package operation

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// dieAfter kills this process as kill -9 does, once a line of a journal is
// durable whose number stands in the file die-after of the state directory. The
// file goes first, so that it happens once.
func dieAfter(journal string, line int) {
	path := filepath.Join(filepath.Dir(journal), "..", "..", "die-after")
	text, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(line) || os.Remove(path) != nil {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
