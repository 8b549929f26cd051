package checks

import (
	"cmp"
	"slices"
	"strings"

	"cairn/internal/disk"
)

// DiskShare is what one source takes of a disk.
type DiskShare struct {
	Source string // "pbs.nas"; empty: everything else
	Bytes  int64
	Frees  int64 // of it, what PBS's next garbage collection will free; 0: nothing, or not known
}

// sharesOf tells what fills the disk that is in, the largest first, from what the
// systems say of themselves: nothing is walked. A source that does not know its
// size is among everything else.
func (l *lab) sharesOf(name string, f disk.Facts) []DiskShare {
	if !f.Present() || f.Used <= 0 {
		return nil
	}
	var out []DiskShare
	on := func(disk, dir string) bool { return disk == name || disk == "" && l.diskAt(dir) == name }
	seen := map[string]bool{} // one datastore may have several entries
	for _, pbs := range names(l.policy.PBS, l.facts.PBS) {
		cfg, facts := l.policy.PBS[pbs], l.facts.PBS[pbs].Value
		place := cfg.URL + " " + cfg.Datastore
		if on(cfg.Disk, cfg.Path) && facts.GCStatus.DiskBytes > 0 && !seen[place] {
			seen[place] = true
			out = append(out, DiskShare{"pbs." + pbs, facts.GCStatus.DiskBytes, max(0, facts.GCStatus.PendingBytes)})
		}
	}
	for _, restic := range names(l.policy.Restic, l.facts.Restic) {
		cfg, facts := l.policy.Restic[restic], l.facts.Restic[restic].Value
		if dir := cfg.Dir(); dir != "" && on(cfg.Disk, dir) && facts.Size > 0 && !seen[dir] {
			seen[dir] = true
			out = append(out, DiskShare{Source: "restic." + restic, Bytes: facts.Size})
		}
	}
	for _, server := range names(l.policy.Postgres, l.facts.Postgres) {
		if bytes := l.postgresBytes(server, name); bytes > 0 {
			out = append(out, DiskShare{Source: "postgres." + server, Bytes: bytes})
		}
	}
	slices.SortStableFunc(out, func(a, b DiskShare) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Source, b.Source))
	})
	rest := f.Used
	for _, s := range out {
		rest -= s.Bytes
	}
	if rest > 0 {
		out = append(out, DiskShare{Bytes: rest})
	}
	return out
}

// sayShares adds to the problem of a disk that fills up what fills it.
func sayShares(problems []Problem, shares []DiskShare) []Problem {
	var parts []string
	for _, s := range shares {
		if s.Source != "" {
			parts = append(parts, s.Source+" "+size(s.Bytes))
		}
	}
	for i := range problems {
		if problems[i].Code == "disk-full" && len(parts) > 0 {
			problems[i].Summary += "; it holds " + strings.Join(parts, ", ")
		}
	}
	return problems
}

// postgresBytes adds up the dumps, base backups and archived WAL that lie on a disk.
func (l *lab) postgresBytes(server, name string) (total int64) {
	cfg, facts := l.policy.Postgres[server], l.facts.Postgres[server].Value
	if cfg.Dump != nil && l.diskAt(cfg.Dump.Dir) == name {
		for _, d := range facts.Dumps.Value {
			total += max(0, d.Size)
		}
	}
	if cfg.Base != nil && l.diskAt(cfg.Base.Dir) == name {
		for _, b := range facts.Bases.Value {
			total += max(0, b.Size)
		}
	}
	if cfg.WAL != nil && l.diskAt(cfg.WAL.Dir) == name {
		total += max(0, facts.Archive.Value.Bytes)
	}
	return total
}
