package checks

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/secret"
	"cairn/restic"
)

// lock is something that only a key opens: a repository, or the encrypted backups
// of a datastore.
type lock struct {
	source string   // "restic.cloud", "pbs.nas"
	what   string   // its key, for a sentence: "The password of restic.cloud"
	files  []string // where the key lies as a file, as far as is known
}

// judgeKeys finds keys that lie only inside what they open, also by way of another
// that is locked in the same way: when this host is gone, nobody opens anything.
func (l *lab) judgeKeys() []Problem {
	locks := l.locks()
	opens := map[string]bool{} // once everything at home is gone
	for range locks {
		for _, one := range locks {
			opens[one.source] = opens[one.source] || l.keptApart(one.source) || slices.ContainsFunc(one.files, func(f string) bool {
				return slices.ContainsFunc(l.holders(f), func(in string) bool { return opens[in] })
			})
		}
	}
	var problems []Problem
	for _, one := range locks {
		if opens[one.source] {
			continue
		}
		for _, f := range one.files {
			in := l.holders(f)
			if len(in) == 0 {
				continue
			}
			how := "inside " + strings.Join(in, " and ") + ", which it opens"
			if !slices.Contains(in, one.source) {
				how = "inside " + strings.Join(in, " and ") + ", whose own key lies there too"
			}
			problems = append(problems, found(backup.Warning, "key-inside", one.source,
				fmt.Sprintf("%s is %s, and its only copy elsewhere lies %s: when this host is gone nobody opens it", one.what, f, how),
				fmt.Sprintf("Keep it apart, in a password manager or an envelope, and say where: \"%s\" = \"…\" in [runbook.keys]; never the key itself", one.source)))
			break
		}
	}
	return problems
}

// locks are what is configured, and encrypted as far as is known.
func (l *lab) locks() (all []lock) {
	for _, name := range names(l.policy.Restic, l.facts.Restic) {
		source := restic.Source(name)
		one := lock{source: source, what: "The password of " + source}
		one.files = append(filesOf(l.policy.Restic[name].Password), l.written(source)...)
		all = append(all, one)
	}
	for _, name := range names(l.policy.PBS, l.facts.PBS) {
		key := ""
		for _, s := range l.facts.PBS[name].Value.Snapshots {
			if s.Encrypted() {
				key = either(key, s.Fingerprint)
			}
		}
		if key == "" {
			continue
		}
		one := lock{source: "pbs." + name, what: fmt.Sprintf("The key %.11s… that encrypts backups on pbs.%s", key, name), files: l.written("pbs." + name)}
		for _, s := range l.policy.PBS[name].ProxmoxStorages {
			cluster, storage, _ := strings.Cut(s, "/")
			if dir := l.policy.Proxmox[cluster].ConfigCopy; filepath.IsAbs(dir) {
				one.files = append(one.files, filepath.Join(dir, "priv", "storage", storage+".enc"))
			}
		}
		all = append(all, one)
	}
	return all
}

func filesOf(s secret.Source) []string {
	if s.File == "" {
		return nil
	}
	return []string{filepath.Clean(s.File)}
}

// written is where [runbook.keys] says that a key lies, if that is a file.
func (l *lab) written(source string) []string {
	if at := l.policy.Keys[source]; filepath.IsAbs(at) && !strings.ContainsAny(at, " ,") {
		return []string{filepath.Clean(at)}
	}
	return nil
}

// keptApart says whether somebody wrote down where the key is kept, other than as a
// file that a copy may hold.
func (l *lab) keptApart(source string) bool {
	at := l.policy.Keys[source]
	return at != "" && (len(l.written(source)) == 0 || len(l.holders(l.written(source)[0])) == 0)
}

// holders are the repositories that are made of a path, and what they are copied to.
func (l *lab) holders(file string) (in []string) {
	for _, name := range names(l.policy.Restic, l.facts.Restic) {
		if slices.ContainsFunc(l.pathsOf(name), func(top string) bool {
			top = filepath.Clean(top)
			return file == top || top == "/" || strings.HasPrefix(file, top+"/")
		}) {
			in = append(in, restic.Source(name))
		}
	}
	return in
}
