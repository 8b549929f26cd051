package pg

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cairn/internal/command"
)

// Recover starts the copy, which nobody but its owner can reach, and replays WAL
// up to the target, where it pauses and can be read. It archives nothing. The
// text tells where it stands.
func (c *Client) Recover(ctx context.Context, r Recovery, w Work) (string, error) {
	if err := r.marked(w.Operation); err != nil {
		return "", err
	}
	r = r.versioned()
	if err := c.configure(ctx, r); err != nil {
		return "", fmt.Errorf("configuring the recovery: %w", err)
	}
	if err := c.startRecovered(ctx, r, w); err != nil {
		return "", err
	}
	return c.awaitTarget(ctx, r, w)
}

// startRecovered starts the server, in a unit or session of its own: it outlives
// the operation where it is to stay.
func (c *Client) startRecovered(ctx context.Context, r Recovery, w Work) error {
	path, err := c.toolPath(ctx, "postgres", r.Major, true)
	if err != nil {
		return err
	}
	spec := access{}.spec(Work{}, r.Owner.as(path, "-D", r.data())...)
	if _, err := command.HowToDetach(ctx).Start(ctx, "cairn-recovered-"+w.Operation, spec, r.log()); err != nil {
		return fmt.Errorf("starting the recovered server: %w", err)
	}
	return nil
}

const socketPort = 5432 // of the socket's name; nothing listens on the network

// longestSocket is how long the path of a socket may be.
const longestSocket = 107

// configure writes the whole configuration of the recovered server. None of the
// live one's is used: it would archive, listen and replicate.
func (c *Client) configure(ctx context.Context, r Recovery) error {
	if n := len(filepath.Join(r.socket(), ".s.PGSQL.5432")); n > longestSocket {
		return fmt.Errorf("the path of its socket has %d characters, and %d are allowed: choose a shorter directory", n, longestSocket)
	}
	path, err := c.toolPath(ctx, "pg_controldata", r.Major, true)
	if err != nil {
		return err
	}
	control, err := command.Run(ctx, command.Spec{Argv: []string{path, r.data()}})
	if err != nil {
		return c.server.toolError("pg_controldata", control, err)
	}
	waldump, err := c.toolPath(ctx, "pg_waldump", r.Major, true)
	if err != nil {
		return err
	}
	if err := r.keepConfiguration(); err != nil {
		return err
	}
	return r.write(map[string]string{
		filepath.Join(r.data(), "postgresql.conf"): r.settings(string(control.Stdout)),
		filepath.Join(r.data(), "pg_hba.conf"):     "local all all trust\n",
		filepath.Join(r.data(), "pg_ident.conf"):   "",
		filepath.Join(r.data(), "recovery.signal"): "",
		r.script(): "#!/bin/sh\n" + c.fetchScript(r) + r.leftScript() + guardScript(waldump),
		r.log():    "",
	})
}

// ofBackup ends the names of the configuration files that came with the backup.
const ofBackup = ".of-the-backup"

// keepConfiguration sets the backup's own configuration aside, for whoever
// promotes the server.
func (r Recovery) keepConfiguration() error {
	for _, name := range []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		path := filepath.Join(r.data(), name)
		if _, err := os.Lstat(path + ofBackup); err == nil {
			continue
		}
		if err := os.Rename(path, path+ofBackup); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func (r Recovery) write(files map[string]string) error {
	for path, text := range files {
		mode := os.FileMode(0o600)
		if path == r.script() {
			mode = 0o700
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			return err
		}
		if err := r.Owner.own(path); err != nil {
			return err
		}
	}
	return nil
}

var controlSetting = regexp.MustCompile(`(?m)^(max_\w+) setting:\s+(\d+)$`)

// settings are those of the recovered server. What the primary had of
// connections and locks is the least that a replay accepts.
func (r Recovery) settings(control string) string {
	var b settingsText
	set := b.set
	b.limits(control)
	for _, pair := range [][2]string{
		{"listen_addresses", ""}, {"port", fmt.Sprint(socketPort)}, {"unix_socket_directories", r.socket()}, {"unix_socket_permissions", "0700"},
		{"archive_mode", "off"}, {"hot_standby", "on"}, {"logging_collector", "off"}, {"log_destination", "stderr"}, {"lc_messages", "C"}, {"ssl", "off"}, {"autovacuum", "off"},
		{"restore_command", shellQuote(r.script()) + ` %f "%p"`}, {"recovery_target_action", "pause"}, {"recovery_target_timeline", "latest"},
		{"max_standby_archive_delay", "-1"}, {"shared_preload_libraries", ""},
		{"shared_buffers", "256MB"}, {"checkpoint_timeout", "1h"},
	} {
		set(pair[0], pair[1])
	}
	if r.Major >= 15 { // it would fetch WAL that lies behind the target, which the guard may refuse
		set("recovery_prefetch", "off")
	}
	if !r.Keep { // it lives until one database is dumped from it: nothing of it has to outlive a power cut
		set("fsync", "off")
	}
	switch {
	case !r.Target.Time.IsZero():
		set("recovery_target_time", r.Target.Time.UTC().Format("2006-01-02 15:04:05.999999+00"))
	case r.Target.Name != "":
		set("recovery_target_name", r.Target.Name)
	case r.Target.LSN != "":
		set("recovery_target_lsn", r.Target.LSN)
	}
	return b.String()
}

// settingsText is a postgresql.conf.
type settingsText struct{ strings.Builder }

func (b *settingsText) set(name, value string) {
	fmt.Fprintf(b, "%s = '%s'\n", name, strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(value))
}

// limits are what the primary had of connections and locks.
func (b *settingsText) limits(control string) {
	for _, m := range controlSetting.FindAllStringSubmatch(control, -1) {
		name := m[1]
		if other, ok := map[string]string{"max_prepared_xacts": "max_prepared_transactions", "max_locks_per_xact": "max_locks_per_transaction"}[name]; ok {
			name = other
		}
		b.set(name, m[2])
	}
}

func shellQuote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// walScript fetches a file from an archive as scripts write them: plain or
// compressed, in one directory or in one for each 256. It returns 1 where there is
// none, which tells the server where the WAL ends; any other failure must not.
func walScript(dir string) string {
	return `archive=` + shellQuote(dir) + `
unpack() { "$1" -qdc "$2" > "$3" || return 2; }
fetch() {
  for place in "$archive" "$archive/$(printf %.16s "$1")"; do
    file="$place/$1"
    if [ -f "$file" ]; then cp "$file" "$2" || return 2; return 0; fi
    if [ -f "$file.gz" ]; then unpack gzip "$file.gz" "$2"; return; fi
    for end in zst zstd; do if [ -f "$file.$end" ]; then unpack zstd "$file.$end" "$2"; return; fi; done
    if [ -f "$file.lz4" ]; then unpack lz4 "$file.lz4" "$2"; return; fi
    if [ -f "$file.bz2" ]; then unpack bzip2 "$file.bz2" "$2"; return; fi
    if [ -f "$file.xz" ]; then unpack xz "$file.xz" "$2"; return; fi
  done
  [ -d "$archive" ] || return 2
  return 1
}
`
}

// guardScript stops the recovery before WAL that makes a tablespace: replaying
// that writes into the directory that the live server has for it. An exit code
// over 125 makes the server give up instead of taking it for the end of the WAL.
// pg_waldump wants the file under its own name.
func guardScript(waldump string) string {
	const end = `get "$1" "$2"
case $? in
0) ;;
1) exit 1 ;;
*) echo "` + notFetched + `$1" >&2; exit 200 ;;
esac
`
	if waldump == "" {
		return end
	}
	return end + `case "$1" in *.*) exit 0 ;; esac
ln -sf "$PWD/$2" "${0%/*}/run/$1" || exit 200
found=$(` + shellQuote(waldump) + ` --rmgr=Tablespace "${0%/*}/run/$1" 2>/dev/null | grep 'desc: CREATE')
rm -f "${0%/*}/run/$1"
if [ -n "$found" ]; then
  echo "` + newTablespace + `${found##*CREATE }" >&2
  exit 200
fi
exit 0
`
}

// notFetched begins the line that says which file is there and could not be fetched.
const notFetched = "cairn: could not be fetched: "

// newTablespace begins the line that says why the script stopped the recovery.
const newTablespace = "cairn: a tablespace was made after the base backup: "

// recovered is a client of the recovered server, over its private socket.
func (c *Client) recovered(r Recovery) *Client {
	cfg := Config{DSN: fmt.Sprintf("host=%s port=%d user=%s dbname=postgres", literalKey(r.socket()), socketPort, literalKey(r.User)),
		Dump: &DumpConfig{Dir: r.Dir, Jobs: c.jobs()}}
	other := New(c.name+" at "+r.Target.String(), cfg, c.server.secrets)
	other.now, other.zone = c.now, c.zone
	return other
}

// awaitTarget reports the segments until the server pauses, and tells why when
// it ends instead.
func (c *Client) awaitTarget(ctx context.Context, r Recovery, w Work) (string, error) {
	other := c.recovered(r)
	defer other.Close()
	began, absent := c.now(), 0
	for looks := 0; ; looks++ {
		text, err := os.ReadFile(r.log())
		if err != nil {
			return "", fmt.Errorf("reading the log of the recovery: %w", err)
		}
		replayed := bytes.Count(text, []byte("restored log file"))
		p := Progress{Done: int64(replayed), Total: int64(max(r.Total, replayed)), Unit: "segments"}
		if replayed > 0 {
			each := c.now().Sub(began) / time.Duration(replayed)
			p.Line = fmt.Sprintf("recovering: about %d WAL segments left, %.2f s each", p.Total-p.Done, each.Seconds())
		}
		w.tell(p)
		if why := recoveryEnd(string(text)); why != "" {
			return "", errors.New(why)
		}
		if absent = r.absent(absent); absent > looksAbsent {
			return "", fmt.Errorf("the recovered server is not there: %s", cmp.Or(command.LastLine(text), "it left no word in "+r.log()))
		}
		if at, there := other.arrived(ctx, r.Target); there {
			return at, nil
		}
		if err := sleep(ctx, pace(looks)); err != nil {
			return "", err
		}
	}
}

// looksAbsent is how many looks in a row may find no server before it is given up.
const looksAbsent = 20

func (r Recovery) absent(before int) int {
	if _, err := os.Stat(filepath.Join(r.data(), "postmaster.pid")); err == nil {
		return 0
	}
	return before + 1
}

// arrived asks whether replay has come to the target; also where it stands.
// Without a target the server opens by itself at the end of the WAL.
func (c *Client) arrived(ctx context.Context, t Target) (string, bool) {
	ctx, cancel := context.WithTimeout(ctx, connectLimit)
	defer cancel()
	conn, err := c.server.connect(ctx, "")
	if err != nil {
		return "", false // it takes no connections yet
	}
	defer shut(ctx, conn)
	var recovering, paused bool
	var at string
	err = conn.QueryRow(ctx, `SELECT pg_is_in_recovery(), CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END, coalesce('last commit ' || pg_last_xact_replay_timestamp()::text || ', ', '') || 'LSN ' || coalesce(pg_last_wal_replay_lsn()::text, '')`).Scan(&recovering, &paused, &at)
	if err == nil && !recovering {
		return at, t == Target{}
	}
	if err == nil && paused && c.server.replaying(ctx, conn) {
		return "", false
	}
	return at, err == nil && paused
}

// replaying says whether a pause was only asked for (since version 14 the server
// tells these apart).
func (s *session) replaying(ctx context.Context, conn *pgx.Conn) bool {
	var state string
	if err := conn.QueryRow(ctx, `SELECT pg_get_wal_replay_pause_state()`).Scan(&state); err != nil {
		return false
	}
	return state != "paused"
}

var (
	lastCommit = regexp.MustCompile(`last completed transaction was at log time (.*)`)
	fatalLine  = regexp.MustCompile(`(?m)^.*(?:FATAL|PANIC):  (.*)$`)
)

// recoveryEnd says why a recovery ended, from its log; empty while it has not.
func recoveryEnd(log string) string {
	if !strings.Contains(log, "database system is shut down") && !strings.Contains(log, "PANIC:") && !strings.Contains(log, "aborting startup") {
		return ""
	}
	if _, made, ok := strings.Cut(log, newTablespace); ok {
		made, _, _ = strings.Cut(made, "\n")
		return "a tablespace was made after the base backup (" + made + "), and cannot be put elsewhere: replaying that would write into the live server's; choose an earlier target, or take a base backup now and choose a later one"
	}
	if _, file, ok := strings.Cut(log, notFetched); ok {
		file, _, _ = strings.Cut(file, "\n")
		if strings.Contains(log, "No space left") {
			return "the disk is full: there was no room for " + file + "; make room, or recover into another directory with --dir"
		}
		return file + " is in the archive and could not be fetched: see that its disk answers, that it may be read and that the program which unpacks it is installed"
	}
	if strings.Contains(log, "recovery ended before configured recovery target was reached") {
		text := "the WAL ended before the target was reached"
		if m := lastCommit.FindStringSubmatch(log); m != nil {
			text += ": its last commit was at " + m[1]
		}
		return text + "; choose a target before that, or look for the missing WAL segments"
	}
	for _, m := range fatalLine.FindAllStringSubmatch(log, -1) {
		if strings.Contains(m[1], "the database system is") {
			continue // what somebody was told who connected too early
		}
		if strings.Contains(m[1], "No space left") || strings.Contains(log, "Check free disk space") {
			return "the disk is full: " + m[1] + "; make room, or recover into another directory with --dir"
		}
		return "the recovered server ended: " + m[1]
	}
	return "the recovered server ended; its log says more"
}

// Extract dumps one database of the paused server into the recovery's directory,
// from where it is restored like any dump, and stops the server, which nobody
// needs any more. The manifest tells the exact rows of every table.
func (c *Client) Extract(ctx context.Context, r Recovery, database string, w Work) (DumpManifest, error) {
	if err := r.marked(w.Operation); err != nil {
		return DumpManifest{}, err
	}
	if err := os.RemoveAll(r.Extracted()); err != nil {
		return DumpManifest{}, fmt.Errorf("removing what an interrupted try left: %w", err)
	}
	other := c.recovered(r)
	defer other.Close()
	m, dir, err := other.Dump(ctx, database, w)
	if err != nil {
		return m, err
	}
	if err := os.Rename(dir, r.Extracted()); err != nil {
		return m, fmt.Errorf("naming what was extracted: %w", err)
	}
	if r.Keep {
		return m, nil
	}
	return m, c.stopRecovered(ctx, r)
}
