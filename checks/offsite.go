package checks

import (
	"path"
	"strings"

	"cairn/internal/backup"
	"cairn/pbs"
)

// readProofs sorts the off-site proofs by asset. Whose a PBS backup is only the
// clusters' storages tell, as for the backups themselves.
func (l *lab) readProofs() {
	l.proofs = map[backup.AssetID][]OffSiteProof{}
	whose := map[string]func(string) owner{}
	for _, key := range sortedKeys(l.facts.OffSite) {
		p := l.facts.OffSite[key]
		if p.Asset == (backup.AssetID{}) {
			name, isPBS := strings.CutPrefix(p.Source, "pbs.")
			cfg, configured := l.policy.PBS[name]
			if !isPBS || !configured {
				continue
			}
			if whose[name] == nil {
				whose[name] = l.owners(name, cfg, either(cfg.Datastore, l.facts.PBS[name].Value.Datastore))
			}
			b, ok := backupOf(p.Copy)
			ids := assetsOf(&b, whose[name](b.Namespace))
			if !ok || len(ids) != 1 {
				continue // rival clusters: it may be of any, and proves nothing for one
			}
			p.Asset = ids[0]
		}
		for _, id := range l.withHeirs([]backup.AssetID{p.Asset}, p.Taken) {
			p.Asset = id
			l.proofs[id] = append(l.proofs[id], p)
		}
	}
}

// backupOf reads what a backup's key says of whose it is: "lab/vm/101/2026-…".
func backupOf(key string) (b pbs.Snapshot, ok bool) {
	group := path.Dir(key)
	b.ID = path.Base(group)
	space, kind := path.Split(path.Dir(group))
	b.Namespace, b.Type = strings.TrimSuffix(space, "/"), kind
	return b, kind == "vm" || kind == "ct" || kind == "host"
}
