package disk

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

const mountinfo = "/proc/self/mountinfo"

// mount is one line of /proc/self/mountinfo.
type mount struct {
	id     int
	device string // "8:17"; its major is 0 for file systems without a block device of their own
	point  string
	opts   []string // of this mount
	fstype string
	source string   // "/dev/sdb1"
	super  []string // options of the file system: where ext4 says emergency_ro
}

func readMounts() ([]mount, error) {
	text, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("reading the mounts: %w", err)
	}
	return parseMounts(text), nil
}

// parseMounts reads mountinfo. A line that it does not understand is left out.
func parseMounts(text []byte) []mount {
	var out []mount
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if m, ok := parseMount(lines.Text()); ok {
			out = append(out, m)
		}
	}
	return out
}

// parseMount reads "36 35 98:0 /mnt1 /mnt/usb rw,noatime master:1 - ext3 /dev/root rw,errors=continue":
// any number of optional fields stands before the lone dash.
func parseMount(line string) (mount, bool) {
	fields := strings.Split(line, " ")
	dash := slices.Index(fields, "-")
	if dash < 6 || len(fields) < dash+3 {
		return mount{}, false
	}
	id, err := strconv.Atoi(fields[0])
	if err != nil {
		return mount{}, false
	}
	m := mount{id: id, device: fields[2], point: unescape(fields[4]), opts: strings.Split(fields[5], ","),
		fstype: fields[dash+1], source: unescape(fields[dash+2])}
	if len(fields) > dash+3 {
		m.super = strings.Split(fields[dash+3], ",")
	}
	return m, true
}

// unescape undoes \040 and its like, as the kernel writes blanks in names.
func unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+3 < len(text) {
			if n, err := strconv.ParseUint(text[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		out.WriteByte(text[i])
	}
	return out.String()
}

// at returns what is mounted at path: the last one, which hides the others.
func at(mounts []mount, path string) (mount, bool) {
	for _, m := range slices.Backward(mounts) {
		if m.point == path {
			return m, true
		}
	}
	return mount{}, false
}

// below returns the mount that path lies on when nothing is mounted at it.
func below(mounts []mount, path string) (mount, bool) {
	var best mount
	found := false
	for _, m := range mounts {
		if path != m.point && (m.point == "/" || strings.HasPrefix(path, m.point+"/")) && len(m.point) >= len(best.point) {
			best, found = m, true
		}
	}
	return best, found
}

// readOnly says why the options show that nothing can be written; empty: they
// do not show it, which proves nothing.
func (m mount) readOnly() string {
	if slices.Contains(m.opts, "ro") {
		return "it is mounted read-only (mount option ro)"
	}
	for _, option := range m.super {
		switch option {
		case "ro":
			return "the file system is read-only (its option ro): after an error the kernel stops writing to it"
		case "emergency_ro":
			return "the kernel has stopped writing to the file system after an error (its option emergency_ro)"
		case "shutdown":
			return "the file system has been shut down after an error (its option shutdown)"
		}
	}
	return ""
}
