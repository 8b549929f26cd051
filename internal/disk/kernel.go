package disk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"cairn/internal/command"
)

// KernelWindow is how far back the kernel log is looked at. A fixed window gives
// the same answer to a look that is the first and to one of many.
const KernelWindow = 24 * time.Hour

// kernelKept is how many lines are kept, the newest.
const kernelKept = 20

// record is a line of the kernel log.
type record struct {
	since time.Duration // since boot
	text  string
	old   bool // before KernelWindow: it tells what a name means, and no trouble
}

// readKernel returns all records that the kernel still has, those before the
// KernelWindow marked; or those in it from the journal, where the kernel lets
// only root read.
func readKernel(ctx context.Context) ([]record, error) {
	now, err := uptime()
	if err == nil {
		var all []record
		if all, err = readKmsg("/dev/kmsg"); err == nil {
			for i := range all {
				all[i].old = now-all[i].since > KernelWindow
			}
			return all, nil
		}
	}
	r, jerr := command.Run(ctx, command.Spec{Argv: []string{"journalctl", "--dmesg", "--output=json", "--since=-24h", "--lines=20000", "--no-pager", "--quiet"}})
	if jerr != nil {
		return nil, fmt.Errorf("the kernel log could not be read (%w); run cairn as root, or with group systemd-journal", err)
	}
	return parseJournal(r.Stdout), nil
}

func uptime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), " ")
	seconds, err := strconv.ParseFloat(first, 64)
	return time.Duration(seconds * float64(time.Second)), err
}

// readKmsg reads all records that the kernel still has, and does not wait for more.
func readKmsg(path string) ([]record, error) {
	fd, err := syscall.Open(path, syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer syscall.Close(fd)
	var out []record
	buf := make([]byte, 16<<10)
	for range 1 << 20 {
		n, err := syscall.Read(fd, buf)
		switch {
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.EINTR), errors.Is(err, syscall.EINVAL):
			continue // overwritten while we read, or too long for us
		case errors.Is(err, syscall.EAGAIN):
			return out, nil
		case err != nil:
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		case n == 0:
			return out, nil
		}
		if r, ok := parseKmsg(buf[:n]); ok {
			out = append(out, r)
		}
	}
	return out, nil
}

// parseKmsg reads "6,339,5140900,-;text", microseconds since boot third, and
// leaves the lines of properties that may follow.
func parseKmsg(text []byte) (record, bool) {
	head, body, ok := bytes.Cut(text, []byte(";"))
	if !ok {
		return record{}, false
	}
	fields := strings.Split(string(head), ",")
	if len(fields) < 3 {
		return record{}, false
	}
	micros, err := strconv.ParseInt(fields[2], 10, 64)
	if err != nil || micros < 0 || micros > int64(1<<62/time.Microsecond) {
		return record{}, false
	}
	body, _, _ = bytes.Cut(body, []byte("\n"))
	return record{since: time.Duration(micros) * time.Microsecond, text: strings.ReplaceAll(string(body), `\x0a`, " ")}, true
}

// parseJournal reads journalctl's JSON, an object a line. A message that is not
// plain text comes as a list of bytes.
func parseJournal(text []byte) []record {
	var out []record
	for line := range bytes.Lines(text) {
		var entry struct {
			Message   json.RawMessage `json:"MESSAGE"`
			Monotonic string          `json:"_SOURCE_MONOTONIC_TIMESTAMP"`
		}
		if json.Unmarshal(line, &entry) != nil {
			continue
		}
		var message string
		if json.Unmarshal(entry.Message, &message) != nil {
			var numbers []uint8
			var wide []uint16
			if json.Unmarshal(entry.Message, &wide) != nil {
				continue
			}
			for _, n := range wide {
				numbers = append(numbers, uint8(n))
			}
			message = string(numbers)
		}
		micros, _ := strconv.ParseInt(entry.Monotonic, 10, 64)
		if micros < 0 || micros > int64(1<<62/time.Microsecond) {
			micros = 0
		}
		out = append(out, record{since: time.Duration(micros) * time.Microsecond, text: message})
	}
	return out
}

// trouble is what the kernel writes when a disk, its cable or its file system
// fails.
var trouble = regexp.MustCompile(`(?i)USB disconnect|reset (?:Super|high|full|low)[- ]?Speed|uas_eh_|I/O error|detected IO errors|Aborting journal|aborted journal|` +
	`potential data loss|data will be lost|EXT4-fs error|Remounting filesystem read-only|XFS .*(?:corrupt|shut ?down|error)|` +
	`BTRFS:? (?:error|critical)|BTRFS.*(?:csum failed|checksum (?:verify failed|error)|forced readonly)|F2FS-fs.*(?:inconsistent|corrupted)|` +
	`FAT-fs.*(?: error|read failed|set read-only)|device offline error|device offlined|offline device|` +
	`beyond end of device|Medium Error|critical target error|(?:timeout|transport|space allocation|protection) error, dev|Unrecovered read error|` +
	`lost (?:a?sync) page write|Synchronize Cache.* failed|timing out command|controller is down|nvme .*timeout|Journal has aborted|journal superblock`)

// holdsWord says whether name stands in text with no letter or digit beside it:
// sdb is not in sdb1.
func holdsWord(text, name string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], name)
		if i < 0 {
			return false
		}
		i += from
		end := i + len(name)
		if (i == 0 || !wordByte(text[i-1])) && (end == len(text) || !wordByte(text[end])) {
			return true
		}
		from = i + 1
	}
}

func wordByte(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_'
}

// troubles returns the newest lines of the last KernelWindow that mean trouble
// for the file system uuid on d (empty: not known), each text once.
func troubles(records []record, d device, uuid string) []string {
	var out []string
	seen := map[string]bool{}
	j := judge{livesOf(records), d, strings.ToLower(uuid)}
	for i, r := range slices.Backward(records) {
		if len(out) < kernelKept && !r.old && !seen[r.text] && trouble.MatchString(r.text) && j.ours(i, r.text) {
			seen[r.text] = true
			out = append(out, strings.ToValidUTF8(r.text, "?"))
		}
	}
	slices.Reverse(out)
	return out
}
