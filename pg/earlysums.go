package pg

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"sync"
)

// earlySums hashes the files of a dump of several jobs as each is finished, so
// that little is left to be read when the last one is.
type earlySums struct {
	dir      string // of the whole dump
	finished chan string
	ending   chan struct{} // closed where nothing more is to be begun
	closing  sync.Once
	done     <-chan struct{}
	known    map[string]DumpedFile // by path; only to be read when done
}

// sumEarly begins; most is how many tables the dump has.
func sumEarly(dir string, most int) *earlySums {
	e := &earlySums{dir: dir, finished: make(chan string, most), ending: make(chan struct{}), known: map[string]DumpedFile{}}
	e.done = async(func() {
		for item := range e.finished {
			select {
			case <-e.ending: // the rest is read side by side
				return
			default:
				e.sum(item)
			}
		}
	})
	return e
}

// finishedItem is what pg_dump --verbose prints of a job that has closed its
// file, which is named after the item (parallel.c, pg_backup_directory.c).
var finishedItem = regexp.MustCompile(`finished item ([0-9]+) TABLE DATA `)

// line takes a line of pg_dump --verbose.
func (e *earlySums) line(text []byte) {
	m := finishedItem.FindSubmatch(text)
	if m == nil {
		return
	}
	select {
	case e.finished <- string(m[1]):
	default: // more than there are tables: it is hashed with the rest
	}
}

// sum hashes the file of an item, whatever it is compressed with. What cannot be
// read now is tried again with the rest, where it is an error.
func (e *earlySums) sum(item string) {
	for _, packed := range []string{"", ".gz", ".lz4", ".zst"} {
		inside := filepath.Join(dumpDirectory, item+".dat"+packed)
		if bytes, sum, err := hashFile(filepath.Join(e.dir, inside)); err == nil {
			e.known[inside] = DumpedFile{Path: inside, Bytes: bytes, SHA256: sum}
			return
		}
	}
}

// end waits for the file that is being hashed, and leaves those that are not begun
// to the rest. It may be called again.
func (e *earlySums) end() {
	e.closing.Do(func() { close(e.ending); close(e.finished) })
	<-e.done
}

// rest lists every file of the dump with its SHA-256, in the order of their
// names. Those that were not hashed yet are read side by side.
func (e *earlySums) rest(ctx context.Context) (all []DumpedFile, err error) {
	e.end()
	err = filepath.WalkDir(e.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		inside, err := filepath.Rel(e.dir, path)
		if err == nil && inside != dumpManifestName {
			all = append(all, DumpedFile{Path: inside})
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing what was dumped: %w", err)
	}
	var left []DumpedFile
	for _, f := range all {
		if _, known := e.known[f.Path]; !known {
			left = append(left, f)
		}
	}
	if err := eachFile(ctx, e.dir, left, func(f *DumpedFile, bytes int64, sum string) error {
		e.known[f.Path] = DumpedFile{Path: f.Path, Bytes: bytes, SHA256: sum}
		return nil
	}); err != nil {
		return nil, err
	}
	for i, f := range all {
		all[i] = e.known[f.Path]
	}
	return all, nil
}
