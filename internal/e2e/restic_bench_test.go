//go:build bench

package e2e

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cairn/internal/testkit"
)

// beside is a tree, a repository with a real key, and a cairn that knows both.
type beside struct {
	t                          *testing.T
	binary, dir, source, repo  string
	config, password, pristine string
	pairs                      int
}

// What is backed up takes bare restic some 20 s on two cores, what is restored some 12.
const (
	saved   = 2500 << 20 // bytes
	brought = 6000 << 20
)

// besideRestic runs cairn and bare restic in turns on the same tree and repository.
// The figure is all of cairn's time by all of restic's. Whoever comes first in a pair
// is some tenth slower, so each comes first as often. CAIRN_BENCH_DIR says where; it
// takes 7 GB.
func besideRestic(t *testing.T) []figure {
	t.Helper()
	b := newBeside(t)
	var backups, restores, verified turns
	for n := range b.pairs {
		b.turn(&backups, n, b.cairnBackup, b.bareBackup)
	}
	b.grow(saved, brought)
	b.fresh()
	b.run(b.binary, "-r", b.repo, "-p", b.password, "backup", "--quiet", b.source)
	must(t, os.RemoveAll(b.source)) // the memory is needed for what is restored
	for n := range b.pairs {
		b.turn(&restores, n, b.cairnRestore(false), b.bareRestore(false))
	}
	for n := range 2 {
		b.turn(&verified, n, b.cairnRestore(true), b.bareRestore(true))
	}
	tree := benchmark(t, "./restic", "BenchmarkTree500k")
	proof := benchmark(t, "./internal/offsite", "BenchmarkProof1M/first")
	unchanged := benchmark(t, "./internal/offsite", "BenchmarkProof1M/unchanged")
	return []figure{
		{"restic: a snapshot of 500,000 files opens, after its listing", tree["open-ms"], 1000, "ms"},
		{"restic: the same, memory", tree["MiB"], 200, "MiB"},
		{"restic: the same, a key", tree["key-ms"], 50, "ms"},
		{"off-site proof of 1,000,000 chunks, the first time", proof["ns/op"] / 1e9, 20, "s"},
		{"off-site proof: the same, memory", proof["MiB-heap"], 300, "MiB"},
		{"off-site proof: the same, nothing changed", unchanged["ns/op"] / 1e9, 1, "s"},
		{"restic: cairn backup beside bare restic backup, wall time", backups.ratio(), 1.03, "×"},
		{"restic: cairn restore beside bare restic restore, wall time", restores.ratio(), 1.03, "×"},
		{"restic: the same with the comparison of every byte, beside restore --verify", verified.ratio(), 2.5, "×"},
	}
}

// turns are how long cairn and bare restic took in all their turns.
type turns struct{ ours, bare time.Duration }

func (a turns) ratio() float64 { return float64(a.ours) / float64(a.bare) }

func newBeside(t *testing.T) *beside {
	t.Helper()
	parent := os.Getenv("CAIRN_BENCH_DIR")
	var fs syscall.Statfs_t
	if parent == "" && syscall.Statfs("/dev/shm", &fs) == nil && int64(fs.Bavail)*fs.Bsize > 2*brought {
		parent = "/dev/shm" // a disk's own moods are not measured
	}
	dir, err := os.MkdirTemp(parent, "cairn-bench-")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &beside{t: t, binary: testkit.Tool(t, "restic-0.18", "restic"), dir: dir, source: filepath.Join(dir, "srv"), repo: filepath.Join(dir, "repo"),
		config: filepath.Join(dir, "config.toml"), pristine: filepath.Join(dir, "pristine"), pairs: 4}
	b.password = write(t, filepath.Join(dir, "password"), "correct horse battery")
	// One part, read within a day: after the first run no check is due.
	write(t, b.config, fmt.Sprintf("state_dir = %q\n[restic.usb]\nrepository = %q\npassword = { file = %q }\npaths = [%q]\nbinary = %q\nevery = \"24h\"\ncheck_within = \"24h\"\n",
		filepath.Join(dir, "state"), b.repo, b.password, b.source, b.binary))
	must(t, os.Mkdir(b.source, 0o755))
	write(t, filepath.Join(b.source, "small"), "first")
	b.run(b.binary, "-r", b.repo, "-p", b.password, "init", "--quiet")
	must(t, os.CopyFS(b.pristine, os.DirFS(b.repo)))
	b.run(cairn, "--config", b.config, "backup", "usb")
	b.grow(0, saved)
	return b
}

// grow adds files to the tree, until it has so many bytes.
func (b *beside) grow(from, to int) {
	b.t.Helper()
	const one = 4 << 20
	random := rand.New(rand.NewPCG(1, uint64(from)))
	raw, text := make([]byte, one/2), make([]byte, one)
	for n := from / one; n < to/one; n++ {
		for i := range raw {
			raw[i] = byte(random.Uint32())
		}
		hex.Encode(text, raw) // halves when it is compressed, as data does
		path := filepath.Join(b.source, strconv.Itoa(n%20), strconv.Itoa(n))
		must(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(b.t, os.WriteFile(path, text, 0o644))
	}
}

func (b *beside) run(argv ...string) time.Duration {
	b.t.Helper()
	c := exec.CommandContext(b.t.Context(), argv[0], argv[1:]...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // as cairn's: the kernel shares its time by session
	began := time.Now()
	if out, err := c.CombinedOutput(); err != nil {
		b.t.Fatalf("%v: %v\n%s", argv, err, out)
	}
	return time.Since(began)
}

// turn runs both, the other one first each time.
func (b *beside) turn(all *turns, n int, ours, bare func() time.Duration) {
	b.t.Helper()
	var x, y time.Duration
	if n%2 == 0 {
		x, y = ours(), bare()
	} else {
		y, x = bare(), ours()
	}
	b.t.Logf("cairn %s, restic %s: %.3f", x.Round(time.Millisecond), y.Round(time.Millisecond), float64(x)/float64(y))
	all.ours, all.bare = all.ours+x, all.bare+y
}

// fresh empties the repository.
func (b *beside) fresh() {
	b.t.Helper()
	must(b.t, os.RemoveAll(b.repo))
	must(b.t, os.CopyFS(b.repo, os.DirFS(b.pristine)))
}

func (b *beside) cairnBackup() time.Duration {
	b.fresh()
	return b.run(cairn, "--config", b.config, "backup", "usb")
}

func (b *beside) bareBackup() time.Duration {
	b.fresh()
	return b.run(b.binary, "-r", b.repo, "-p", b.password, "backup", "--quiet", b.source)
}

// cairnRestore measures a restore beside, up to the end of the comparison or, from
// what the journal says, without it.
func (b *beside) cairnRestore(compare bool) func() time.Duration {
	return func() time.Duration {
		target := filepath.Join(b.dir, "restored")
		defer os.RemoveAll(target)
		r := &bench{t: b.t, config: b.config, state: filepath.Join(b.dir, "state"), program: cairn}
		began := time.Now()
		out := r.must(0, "restore", "file-loss", b.source, "--target", target)
		took := time.Since(began)
		if !compare {
			took -= stepTook(b.t, r.journal(idIn(b.t, out.err)), "2-verify")
		}
		return took
	}
}

// stepTook reads from a journal how long a step took.
func stepTook(t *testing.T, journal, step string) time.Duration {
	t.Helper()
	var first, last time.Time
	for text := range strings.Lines(journal) {
		var l struct {
			At   time.Time
			Step string
		}
		must(t, json.Unmarshal([]byte(text), &l))
		if l.Step == step && first.IsZero() {
			first = l.At
		} else if l.Step == step {
			last = l.At
		}
	}
	if last.IsZero() {
		t.Fatalf("no step %s in\n%s", step, journal)
	}
	return last.Sub(first)
}

func (b *beside) bareRestore(verify bool) func() time.Duration {
	return func() time.Duration {
		target := filepath.Join(b.dir, "restored")
		defer os.RemoveAll(target)
		args := []string{b.binary, "-r", b.repo, "-p", b.password, "restore", "latest", "--quiet", "--target", target}
		if verify {
			args = append(args, "--verify")
		}
		return b.run(args...)
	}
}
