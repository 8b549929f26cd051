package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// announced is what a plan says is lost: all that was written after since; text is
// what a person reads. It changes nothing.
func (b *bench) announced(scenario ...string) (since time.Time, text string) {
	b.t.Helper()
	var p struct {
		Since time.Time `json:"loses_since"`
		Loss  string    `json:"loss"`
	}
	must(b.t, json.Unmarshal([]byte(b.must(0, append(append([]string{"restore"}, scenario...), "--plan", "--format", "json")...).out), &p))
	if p.Since.IsZero() {
		b.t.Fatalf("%v: no loss is announced: %q", scenario, p.Loss)
	}
	return p.Since, p.Loss
}

// inIncident opens an incident, goes the way back, and closes it: its record has the
// loss that the plan announced, up to when it was opened.
func (b *bench) inIncident(what string, since time.Time, wayBack func()) {
	b.t.Helper()
	b.must(0, "incident", "open", what)
	wayBack()
	b.must(0, "incident", "close", "--loss", "as announced")
	var list struct {
		Incidents []struct {
			What  string
			T0    time.Time `json:"t0"`
			Since time.Time `json:"announced_since"`
			Lost  float64   `json:"announced_loss_seconds"`
		} `json:"incidents"`
	}
	must(b.t, json.Unmarshal([]byte(b.must(0, "incident", "list", "--format", "json").out), &list))
	i := list.Incidents[0]
	if i.What != what || !i.Since.Equal(since) || math.Abs(i.Lost-i.T0.Sub(since).Seconds()) > 1 { // T0 is shown to the second
		b.t.Errorf("%s: the record announces %.3f s since %s; lost is what was written between %s and %s", i.What, i.Lost, i.Since, since, i.T0)
	}
}

// writtenFile is a file as it was before an incident.
type writtenFile struct {
	sum [sha256.Size]byte
	at  time.Time
}

func filesOf(t *testing.T, root string) map[string]writtenFile {
	t.Helper()
	all := map[string]writtenFile{}
	must(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		text, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, root)] = writtenFile{sha256.Sum256(text), info.ModTime()}
		return err
	}))
	return all
}

// lostFiles compares what came back with what was there: every file that was written
// after since is lost, or as it was before, and no other one is.
func lostFiles(t *testing.T, was, is map[string]writtenFile, since time.Time) (lost int) {
	t.Helper()
	for path, w := range was {
		now, there := is[path]
		same := there && now.sum == w.sum
		switch {
		case w.at.After(since) && same:
			t.Errorf("%s of %s came back, though all since %s was announced to be lost", path, w.at, since)
		case w.at.After(since):
			lost++
		case !same:
			t.Errorf("%s of %s is lost, though only what was written since %s was to be", path, w.at, since)
		}
	}
	for path := range is {
		if _, there := was[path]; !there {
			t.Errorf("%s is new", path)
		}
	}
	return lost
}

// rows are the rows of a table of entries with the time at which each was written.
func (d *databases) rows(database, table string) map[string]time.Time {
	d.t.Helper()
	all := map[string]time.Time{}
	for _, line := range strings.Fields(d.psql(database, "SELECT id || ',' || to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') FROM "+table)) {
		id, text, _ := strings.Cut(line, ",")
		at, err := time.Parse(time.RFC3339Nano, text)
		must(d.t, err)
		all[id] = at
	}
	return all
}

// lostRows compares: lost is every row that was written after since, and no other.
func (d *databases) lostRows(was, is map[string]time.Time, since time.Time) (lost int) {
	d.t.Helper()
	for id, at := range was {
		_, there := is[id]
		switch {
		case there && at.After(since):
			d.t.Errorf("row %s of %s came back, though all since %s was announced to be lost", id, at, since)
		case !there && !at.After(since):
			d.t.Errorf("row %s of %s is lost, though only what was written since %s was to be", id, at, since)
		case !there:
			lost++
		}
	}
	if len(is)+lost != len(was) {
		d.t.Errorf("%d rows came back and %d were lost, of %d", len(is), lost, len(was))
	}
	return lost
}

// write adds a row, whose time is the server's.
func (d *databases) write(database string) {
	d.t.Helper()
	d.psql(database, "SET ROLE odoo; CREATE TABLE IF NOT EXISTS entry(id serial PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp()); INSERT INTO entry DEFAULT VALUES")
}

// moment is a time between what was written before and after, as --at takes it.
func (d *databases) moment(database string) string {
	d.t.Helper()
	return strings.TrimSpace(d.psql(database, "SELECT to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US') || '+00:00'"))
}
