package pg

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// toc is the head of an archive of pg_dump (custom, directory or tar format):
// who made it of what, and where its data lies. Listing it proves nothing of
// the data: see custom.
type toc struct {
	database string
	server   string // the server's version
	tool     string // pg_dump's version
	created  time.Time
	format   byte       // 1 custom, 3 tar, 5 directory
	files    []string   // of a directory: what holds data
	data     []tocTable // the tables whose rows it holds
	owners   []string   // the roles that own something in it, sorted, but for the schema public
	public   string     // whose that is, where it is said
	last     int64      // of a custom file: where its last block of data begins; 0: none
	unplaced bool       // of a custom file: it has data whose place is not recorded
	end      int64      // length of the toc itself, in bytes
}

// reader is the oldest major version of pg_restore that reads the archive: that of
// the pg_dump which made it. An older one refuses it, however old the server was.
func (t toc) reader() int { return max(majorOf(t.server), majorOf(t.tool)) }

// tocTable is the name of a table in a toc.
type tocTable struct{ schema, name string }

const (
	tocMagic = "PGDMP"

	formatCustom    = 1
	formatTar       = 3
	formatDirectory = 5
)

var (
	errNoMagic = errors.New("it does not begin with PGDMP: it is no archive of pg_dump")
	errNoTOC   = errors.New("its table of contents is cut")
)

// tocReader reads the integers and strings of a toc. The first error sticks.
type tocReader struct {
	r        *bufio.Reader
	read     int64
	version  int // 1014 is 1.14
	intSize  int
	offSize  int
	location *time.Location
	err      error
}

// readTOC reads the head and the table of contents. Times in it are those of
// the host that dumped, taken to be zone's.
func readTOC(from io.Reader, zone *time.Location) (toc, error) {
	r := &tocReader{r: bufio.NewReaderSize(from, 64<<10), location: zone}
	var t toc
	for i := range tocMagic {
		if b := r.byte(); r.err != nil || b != tocMagic[i] {
			return t, errNoMagic
		}
	}
	r.version = int(r.byte())*1000 + int(r.byte())
	r.byte() // revision
	r.intSize, r.offSize = int(r.byte()), int(r.byte())
	t.format = r.byte()
	if r.err == nil && (r.version < 1010 || r.version >= 2000 || r.intSize < 1 || r.intSize > 8 || r.offSize > 8) {
		return t, fmt.Errorf("its head is damaged, or of a version that is not known: %d.%d", r.version/1000, r.version%1000)
	}
	r.head(&t)
	r.entries(&t)
	t.end = r.read
	if r.err != nil {
		return t, errNoTOC
	}
	return t, nil
}

func (r *tocReader) head(t *toc) {
	if r.version >= 1015 {
		r.byte() // compression algorithm
	} else {
		r.int()
	}
	var at [6]int // second, minute, hour, day, month from 0, years since 1900
	for i := range at {
		at[i] = int(r.int())
	}
	r.int() // daylight saving
	t.created = time.Date(at[5]+1900, time.Month(at[4]+1), at[3], at[2], at[1], at[0], 0, r.location)
	t.database = r.string()
	t.server, _, _ = strings.Cut(r.string(), " ") // "15.18 (Debian …)"
	t.tool, _, _ = strings.Cut(r.string(), " ")
}

func (r *tocReader) entries(t *toc) {
	owners := map[string]bool{}
	defer func() { t.owners = sortedKeys(owners) }()
	for n := r.int(); n > 0 && r.err == nil; n-- {
		r.int() // id
		dumper := r.int() != 0
		r.skip(2) // table oid, oid
		tag, kind := r.name(), r.name()
		if r.version >= 1011 {
			r.int() // section
		}
		r.skip(3) // definition, drop and copy statement
		if schema := r.name(); kind == "TABLE DATA" {
			t.data = append(t.data, tocTable{schema, tag})
		}
		r.skip(1) // tablespace
		if r.version >= 1014 {
			r.skip(1) // access method
		}
		if r.version >= 1016 {
			r.int() // kind of relation
		}
		switch owner := r.name(); {
		case owner == "":
		case kind == "SCHEMA" && tag == "public", tag == "SCHEMA public": // the latter are grants on it
			t.public = owner
		default:
			owners[owner] = true
		}
		r.skip(1) // with oids
		for r.skip(1) {
			// a dependency
		}
		if t.format != formatCustom {
			if name := r.string(); name != "" && dumper {
				t.files = append(t.files, name)
			}
			continue
		}
		state, place := r.byte(), r.offset()
		const notSet, set = 1, 2
		t.unplaced = t.unplaced || state == notSet && dumper
		if state == set {
			t.last = max(t.last, place)
		}
	}
}

func (r *tocReader) byte() byte {
	if r.err != nil {
		return 0
	}
	b, err := r.r.ReadByte()
	r.err = err
	r.read++
	return b
}

func (r *tocReader) int() int64 {
	negative := r.byte() != 0
	var n int64
	for i := range r.intSize {
		n |= int64(r.byte()) << (8 * i)
	}
	if negative {
		return -n
	}
	return n
}

func (r *tocReader) offset() int64 {
	var n int64
	for i := range r.offSize {
		n |= int64(r.byte()) << (8 * i)
	}
	return n
}

const longestName = 4096

// string reads a short string; a long one is damage.
func (r *tocReader) string() string {
	n := r.int()
	if n <= 0 || r.err != nil {
		return ""
	}
	if n > longestName {
		r.err = errNoTOC
		return ""
	}
	text := make([]byte, n)
	_, r.err = io.ReadFull(r.r, text)
	r.read += n
	return string(text)
}

// name reads a string that may be long, such as a function with its arguments:
// one that is too long to be a table's comes back empty.
func (r *tocReader) name() string {
	n := r.int()
	switch {
	case n <= 0 || r.err != nil:
		return ""
	case n > longestName:
		var done int64
		done, r.err = io.CopyN(io.Discard, r.r, n)
		r.read += done
		return ""
	}
	text := make([]byte, n)
	_, r.err = io.ReadFull(r.r, text)
	r.read += n
	return string(text)
}

// openTOC reads the table of contents of a file: toc.dat, or a custom dump.
func openTOC(path string, zone *time.Location) (toc, error) {
	f, err := openRegular(path)
	if err != nil {
		return toc{}, err
	}
	defer f.Close()
	return readTOC(f, zone)
}

// skip passes n strings and says whether the last one was there (not NULL).
func (r *tocReader) skip(n int) (there bool) {
	for range n {
		length := r.int()
		there = length >= 0 && r.err == nil
		if length <= 0 || r.err != nil {
			continue
		}
		var done int64
		done, r.err = io.CopyN(io.Discard, r.r, length)
		r.read += done
		there = r.err == nil
	}
	return there
}

// maxChunks bounds the walk through the last block of a custom dump.
const maxChunks = 200_000

// customEnd says whether a custom dump of size bytes ends where its last block
// of data ends; known is false where that can't be told without reading all.
func customEnd(file io.ReaderAt, size int64, t toc, intSize int) (whole, known bool) {
	switch {
	case t.last >= size:
		return false, true
	case t.unplaced:
		return false, false
	case t.last == 0: // no data at all
		return t.end <= size, true
	}
	r := &chunkReader{file: file, at: t.last, intSize: intSize}
	kind := r.byte()
	r.int() // id
	const data, blobs = 1, 3
	switch kind {
	case data:
		r.chunks()
	case blobs:
		for r.int() != 0 && r.err == nil && r.count < maxChunks {
			r.chunks()
		}
	default:
		return false, true
	}
	if r.count >= maxChunks {
		return false, false
	}
	return r.err == nil && r.at <= size, true
}

// chunkReader walks over the chunks of a block without reading them.
type chunkReader struct {
	file    io.ReaderAt
	at      int64
	intSize int
	count   int
	err     error
}

func (r *chunkReader) byte() byte {
	var b [1]byte
	if r.err == nil {
		_, r.err = r.file.ReadAt(b[:], r.at)
		r.at++
	}
	return b[0]
}

func (r *chunkReader) int() int64 {
	b := make([]byte, 1+r.intSize)
	if r.err != nil {
		return 0
	}
	if _, r.err = r.file.ReadAt(b, r.at); r.err != nil {
		return 0
	}
	r.at += int64(len(b))
	var n int64
	for i, one := range b[1:] {
		n |= int64(one) << (8 * i)
	}
	return n
}

func (r *chunkReader) chunks() {
	for r.err == nil && r.count < maxChunks {
		n := r.int()
		if n == 0 {
			return
		}
		if n < 0 {
			r.err = errNoTOC
			return
		}
		r.at += n
		r.count++
	}
}
