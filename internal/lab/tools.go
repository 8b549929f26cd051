package lab

import (
	"os"
	"os/exec"
	"path/filepath"
)

// pinned finds a tool that `make tools` built: $CAIRN_TOOLS/NAME-HASH/PROGRAM,
// the latest one; empty when there is none.
func pinned(name, program string) string {
	dir := os.Getenv("CAIRN_TOOLS")
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return ""
		}
		dir = filepath.Join(cache, "cairn", "tools")
	}
	found, err := filepath.Glob(filepath.Join(dir, name+"-*", program))
	if err != nil {
		return ""
	}
	best, newest := "", int64(0)
	for _, path := range found {
		if info, err := os.Stat(path); err == nil && info.ModTime().UnixNano() > newest {
			best, newest = path, info.ModTime().UnixNano()
		}
	}
	return best
}

// firstOf returns the first of the candidates that is a program; a bare name is
// looked up in PATH.
func firstOf(candidates ...string) string {
	for _, c := range candidates {
		if c == "" {
			continue
		}
		if path, err := exec.LookPath(c); err == nil {
			return path
		}
	}
	return ""
}
