package offsite

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"

	"cairn/pbs/datastore"
)

// listing is what a restic snapshot holds of the directories that were asked
// for: chunks by digest, in little memory, and other files by path.
type listing struct {
	files  map[string]int64
	chunks map[string]*chunks // by the datastore's path
	stores []string           // paths of datastores
}

func newListing(stores []string) *listing {
	l := &listing{files: map[string]int64{}, chunks: map[string]*chunks{}, stores: stores}
	for _, s := range stores {
		l.chunks[s] = &chunks{}
	}
	return l
}

// add enters a file.
func (l *listing) add(file []byte, size int64) error {
	if d, ok := datastore.ParseChunk(file); ok {
		for _, s := range l.stores {
			if len(file) == len(s)+len("/.chunks/0000/")+2*len(d) && string(file[:len(s)]) == s {
				l.chunks[s].add(d, size)
				return nil
			}
		}
	}
	l.files[string(file)] = size
	return nil
}

// below lists the files in a directory by their path below it.
func (l *listing) below(dir string) map[string]int64 {
	out := map[string]int64{}
	for file, size := range l.files {
		if rest, ok := strings.CutPrefix(file, dir+"/"); ok {
			out[rest] = size
		}
	}
	return out
}

// snapshots lists the backup snapshots of a datastore that have a manifest here.
func (l *listing) snapshots(store string) []datastore.Snapshot {
	var out []datastore.Snapshot
	for file := range l.files {
		dir, name := path.Split(file)
		below, ok := strings.CutPrefix(dir, store+"/")
		if !ok || name != datastore.ManifestName {
			continue
		}
		if s, ok := datastore.ParseDir(below); ok {
			out = append(out, s)
		}
	}
	return out
}

// entry is a chunk's file: 40 bytes, as there may be millions.
type entry struct {
	digest datastore.Digest
	size   uint32
	state  state
}

type state uint8

const (
	unasked state = iota
	asked         // some backup needs it
	same          // its size is that of the file here
	wrong         // it is not
)

// chunks is a set of chunk files. It is filled, then sealed, then asked.
type chunks struct {
	entries []entry
	first   []uint32 // by the upper bits of a digest: where these begin
	shift   uint
}

func (c *chunks) add(d datastore.Digest, size int64) {
	c.entries = append(c.entries, entry{digest: d, size: uint32(min(size, math.MaxUint32))})
}

// seal sorts the set and makes its table. Digests are spread evenly, so a part
// of the table holds a few.
func (c *chunks) seal() {
	order := func(a, b entry) int { return bytes.Compare(a.digest[:], b.digest[:]) }
	if !slices.IsSortedFunc(c.entries, order) { // restic lists by name
		slices.SortFunc(c.entries, order)
	}
	bits := uint(1)
	for 1<<bits < len(c.entries) && bits < 24 {
		bits++
	}
	c.shift = 24 - bits
	c.first = make([]uint32, 1<<bits+1)
	at := 0
	for part := range c.first {
		for at < len(c.entries) && c.part(c.entries[at].digest) < part {
			at++
		}
		c.first[part] = uint32(at)
	}
}

func (c *chunks) part(d datastore.Digest) int {
	return int((uint(d[0])<<16 | uint(d[1])<<8 | uint(d[2])) >> c.shift)
}

// find returns the entry of a digest; nil: there is none.
func (c *chunks) find(d datastore.Digest) *entry {
	if len(c.first) == 0 {
		return nil
	}
	part := c.part(d)
	for i := c.first[part]; i < c.first[part+1]; i++ {
		if c.entries[i].digest == d {
			return &c.entries[i]
		}
	}
	return nil
}

// compare looks at the sizes of the chunk files here that some backup asked
// for, in the order of their names. A file that is gone here takes nothing from
// the one there. It returns how many are wrong.
func (c *chunks) compare(size func(datastore.Digest) (int64, error)) (bad int, err error) {
	for i := range c.entries {
		e := &c.entries[i]
		if e.state != asked {
			continue
		}
		here, err := size(e.digest)
		e.state = same
		switch {
		case errors.Is(err, fs.ErrNotExist):
			here = int64(e.size)
		case err != nil:
			return bad, err
		}
		if int64(e.size) != min(here, math.MaxUint32) || e.size <= datastore.BlobHeader {
			e.state = wrong
			bad++
		}
	}
	return bad, nil
}
