package offsite

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"

	"cairn/pbs/datastore"
)

// lackOf says what of a backup snapshot a listing lacks, a sentence; empty:
// nothing. A manifest of another size is left to be read: PBS writes notes and
// verifications into it.
func (l *listing) lackOf(store string, need datastore.Need) (lack string, changed bool) {
	dir := path.Join(store, need.Snapshot.Dir())
	there, ok := l.files[path.Join(dir, datastore.ManifestName)]
	switch {
	case !ok && len(l.below(dir)) == 0:
		return "nothing of it is there", false
	case !ok:
		return "its " + datastore.ManifestName + " is missing, so it was being uploaded", false
	case there <= datastore.BlobHeader:
		return "its " + datastore.ManifestName + " is empty", false
	}
	for _, name := range slices.Sorted(maps.Keys(need.Files)) {
		size, ok := l.files[path.Join(dir, name)]
		switch {
		case !ok:
			return "its " + name + " is missing", false
		case size != need.Files[name]:
			return fmt.Sprintf("its %s has %d bytes, here it has %d", name, size, need.Files[name]), false
		}
	}
	missing, lack := 0, ""
	set := l.chunks[store]
	for _, d := range need.Chunks {
		e := set.find(d)
		switch {
		case e == nil:
			if missing++; missing == 1 {
				lack = fmt.Sprintf("chunk %.12s…", d)
			}
		case e.state == wrong:
			if missing++; missing == 1 {
				lack = fmt.Sprintf("chunk %.12s…, which has another size,", d)
			}
		case e.state == unasked:
			e.state = asked
		}
	}
	switch {
	case missing == 1:
		return fmt.Sprintf("1 of the %d chunks that it needs is missing: %s", len(need.Chunks), lack), false
	case missing > 1:
		return fmt.Sprintf("%d of the %d chunks that it needs are missing, such as %s", missing, len(need.Chunks), lack), false
	}
	return "", there != int64(len(need.Manifest))
}

// sameBackup says whether two manifests are of the same content, whatever notes
// and verifications were written into them. One that is whole and cannot be read
// is taken for that: its checksum was compared.
func sameBackup(here, there []byte) error {
	a, errA := datastore.ReadManifest(here)
	b, errB := datastore.ReadManifest(there)
	switch {
	case errB != nil && !errors.Is(errB, datastore.ErrOpaque):
		return fmt.Errorf("its %s is damaged: %w", datastore.ManifestName, errB)
	case errA != nil || errB != nil:
		return nil
	case a.Type != b.Type || a.ID != b.ID || !a.Time.Equal(b.Time):
		return fmt.Errorf("its %s is that of another backup", datastore.ManifestName)
	}
	if !slices.Equal(byName(a.Files), byName(b.Files)) {
		return fmt.Errorf("its %s names other files", datastore.ManifestName)
	}
	return nil
}

func byName(files []datastore.File) []datastore.File {
	out := slices.Clone(files)
	slices.SortFunc(out, func(a, b datastore.File) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

// lackOfFiles says what of a dump a listing lacks: its files, by full path.
func (l *listing) lackOfFiles(files map[string]int64) string {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		size, ok := l.files[name]
		switch {
		case !ok:
			return name + " is missing"
		case size != files[name]:
			return fmt.Sprintf("%s has %d bytes, here it has %d", name, size, files[name])
		}
	}
	if len(files) == 0 {
		return "there is nothing of it here to compare with"
	}
	return ""
}
