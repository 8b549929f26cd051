package pg

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"regexp"
	"sync"
	"time"

	"cairn/internal/backup"
)

// content is what the inside of a file or directory tells.
type content struct {
	foreign  bool         // it is no dump at all
	state    backup.State // Complete, Torn or Damaged
	why      string
	sure     bool // Complete was seen, not only presumed
	database string
	version  string
	reader   int // major version of pg_restore that it takes at least
	created  time.Time
	cluster  bool     // of all databases, or of the globals
	roles    []string // that own something in it; of the globals: that it creates
	proof    backup.Proof
	looked   time.Time
	partial  bool // there is more to see, when there is time to unpack it
	ours     *DumpManifest
	proofs   []backup.Proven // that were recorded beside a dump of ours
}

func broken(state backup.State, why string) content {
	return content{state: state, why: why, sure: true}
}

// cache keeps what was seen in files that have not changed since: a directory
// of dumps is read once, not once a minute.
type cache struct {
	mu   sync.Mutex
	seen map[cacheKey]content
	next map[cacheKey]content // what the scan under way met, which is all that is kept
}

type cacheKey struct {
	path     string
	size     int64
	modified time.Time
}

// begin starts a scan, finish ends it and forgets what it did not meet.
func (c *cache) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next = map[cacheKey]content{}
}

func (c *cache) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seen = c.next
}

// changed says whether nothing of that path, size and time was met before.
func (c *cache) changed(key cacheKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.seen[key]
	return !ok
}

func (c *cache) get(key cacheKey, now time.Time, look func() content) content {
	c.mu.Lock()
	found, ok := c.seen[key]
	c.mu.Unlock()
	if !ok || found.partial {
		found = look()
		found.looked = now
	}
	c.mu.Lock()
	c.next[key] = found
	c.mu.Unlock()
	return found
}

// prober looks into files. It unpacks no more than budget bytes of compressed
// files in one scan, so that a directory of many costs no survey its time; what
// is left over is unpacked in the next ones.
type prober struct {
	zone   *time.Location
	budget int64
}

// unpackBudget is what one scan unpacks at most, in compressed bytes: about a
// second or two.
const unpackBudget = 64 << 20

// mayUnpack says whether a file of size bytes is unpacked now.
func (p *prober) mayUnpack(size int64) bool {
	if size > wholeGzip || size > p.budget {
		return false
	}
	p.budget -= size
	return true
}

// file looks into a dump that is one file.
func (p *prober) file(path string, size int64, name dumpName) content {
	f, err := openRegular(path)
	if err != nil {
		return broken(backup.Damaged, "it cannot be read: "+err.Error())
	}
	defer f.Close()
	switch {
	case size == 0:
		return broken(backup.Damaged, "it is empty: the dump failed")
	case name.Encrypted:
		return content{state: backup.Complete}
	case name.Format == "plain":
		return p.plain(f, size, name.Packed)
	case name.Format == "tar":
		return p.tar(f, size, name.Packed)
	}
	return p.custom(f, size, name)
}

func (p *prober) custom(f *os.File, size int64, name dumpName) content {
	if name.Packed != "" {
		return p.packedTOC(f, size, name.Packed, 0)
	}
	t, err := readTOC(io.NewSectionReader(f, 0, size), p.zone)
	if errors.Is(err, errNoMagic) {
		if name.Format == "" {
			return content{foreign: true}
		}
		// Scripts call plain SQL .dump or .backup too.
		if c := p.plain(f, size, ""); !c.foreign {
			return c
		}
		return broken(backup.Damaged, "it begins without PGDMP: it is no dump in custom format")
	}
	c := ofTOC(t)
	if err != nil {
		c.state, c.why, c.sure = backup.Torn, err.Error(), true
		return c
	}
	c.state, c.proof = backup.Complete, backup.MetadataRead
	var width [1]byte
	const widthAt = 8
	if _, err := f.ReadAt(width[:], widthAt); err != nil {
		return c
	}
	whole, known := customEnd(f, size, t, int(width[0]))
	c.sure = known
	if known && !whole {
		c.state, c.why, c.proof = backup.Torn, "its data ends before the last table does: it was cut", backup.Exists
	}
	return c
}

func ofTOC(t toc) content {
	return content{database: t.database, version: t.server, reader: t.reader(), created: t.created, roles: t.owners}
}

// packedTOC reads the table of contents, offset bytes into a compressed
// file, and whether the compression ends as it should.
func (p *prober) packedTOC(f *os.File, size int64, packed string, offset int64) content {
	c := content{state: backup.Complete}
	r, err := unpacker(f, packed)
	if err == nil {
		var t toc
		if _, err = io.CopyN(io.Discard, r, offset); err == nil {
			t, err = readTOC(r, p.zone)
		}
		if err != nil {
			return broken(backup.Torn, "what is packed in it cannot be read: "+err.Error())
		}
		c = ofTOC(t)
		c.state, c.proof = backup.Complete, backup.MetadataRead
	} else if !errors.Is(err, errPacked) {
		return broken(backup.Damaged, "it cannot be unpacked: "+err.Error())
	}
	whole, known := p.packedWhole(f, size, packed)
	c.sure, c.partial = known && whole, !known && packed == ".gz" && size <= wholeGzip
	if known && !whole {
		c.state, c.why, c.proof = backup.Torn, "its compressed data ends too early: it was cut", backup.Exists
	}
	return c
}

const tarBlock = 512

// tar looks for toc.dat, which pg_dump -Ft writes first, and for the two
// empty blocks at the end.
func (p *prober) tar(f *os.File, size int64, packed string) content {
	r, err := unpacker(io.NewSectionReader(f, 0, size), packed)
	if err == nil {
		head := make([]byte, tarBlock)
		if _, err = io.ReadFull(r, head); err != nil {
			return broken(backup.Torn, "it ends in its first block: it was cut")
		}
		if string(head[257:262]) != "ustar" || !bytes.HasPrefix(head, []byte("toc.dat\x00")) {
			return content{foreign: true}
		}
	}
	if packed != "" {
		return p.packedTOC(f, size, packed, tarBlock)
	}
	t, err := readTOC(io.NewSectionReader(f, tarBlock, size), p.zone)
	c := ofTOC(t)
	c.sure, c.state, c.proof = true, backup.Complete, backup.MetadataRead
	switch {
	case err != nil:
		c.state, c.why, c.proof = backup.Torn, err.Error(), backup.Exists
	case !tarEnds(f, size):
		c.state, c.why, c.proof = backup.Torn, "it lacks the end of a tar file: it was cut", backup.Exists
	}
	return c
}

// tarEnds says whether a tar file has its end: two empty blocks, behind the last of
// its files. Empty blocks alone may be the middle of one, such as of a page that is
// not used yet. Only the heads of the files are read.
func tarEnds(f io.ReaderAt, size int64) bool {
	end := make([]byte, 2*tarBlock)
	if size%tarBlock != 0 {
		return false
	}
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	if bytes.Count(end, []byte{0}) != len(end) {
		return false
	}
	files := tar.NewReader(io.NewSectionReader(f, 0, size))
	for {
		if _, err := files.Next(); err != nil {
			return errors.Is(err, io.EOF)
		}
	}
}

var (
	plainHead    = []byte("-- PostgreSQL database dump")
	clusterHead  = []byte("-- PostgreSQL database cluster dump")
	plainEnd     = []byte("-- PostgreSQL database dump complete")
	clusterEnd   = []byte("-- PostgreSQL database cluster dump complete")
	plainVersion = regexp.MustCompile(`-- Dumped from database version (\S+)`)
	plainTool    = regexp.MustCompile(`-- Dumped by pg_dump version (\S+)`)
)

const (
	plainEdge = 4096 // how much of each end of a plain dump is read, in bytes
)

// plain looks for the first and last lines that pg_dump and pg_dumpall
// write around plain SQL.
func (p *prober) plain(f *os.File, size int64, packed string) content {
	head, end, err := p.edges(f, size, packed)
	switch {
	case errors.Is(err, errLong) && !bytes.Contains(head, plainHead) && !bytes.Contains(head, clusterHead):
		return content{foreign: true} // of another database, such as mysqldump's
	case errors.Is(err, errPacked) || errors.Is(err, errLong):
		whole, known := p.packedWhole(f, size, packed)
		if known && !whole {
			return broken(backup.Torn, "its compressed data ends too early: it was cut")
		}
		c := content{state: backup.Complete, sure: known, partial: !known && size <= wholeGzip, cluster: bytes.Contains(head, clusterHead)}
		if m := plainVersion.FindSubmatch(head); m != nil {
			c.version = string(m[1])
		}
		return c
	case errors.Is(err, gzip.ErrHeader) && len(head) == 0:
		return broken(backup.Damaged, "it is not compressed as its name says")
	}
	c := content{sure: true, cluster: bytes.Contains(head, clusterHead)}
	if !c.cluster && !bytes.Contains(head, plainHead) {
		if err == nil {
			return content{foreign: true}
		}
		return broken(backup.Torn, "it was cut, or is no dump: "+err.Error())
	}
	if m := plainVersion.FindSubmatch(head); m != nil {
		c.version = string(m[1])
	}
	switch {
	case err != nil:
		c.state, c.why = backup.Torn, "its compressed data ends too early: it was cut"
	case c.cluster && !bytes.Contains(end, clusterEnd), !c.cluster && !bytes.Contains(end, plainEnd):
		c.state, c.why = backup.Torn, "its last line, “dump complete”, is missing: it was cut"
	default:
		c.state, c.proof = backup.Complete, backup.MetadataRead
		if packed == ".gz" {
			c.proof = backup.EveryByteRead // and its checksum was compared
		}
	}
	return c
}

var errLong = errors.New("too long to unpack")

// edges returns the first and last bytes of a file, unpacked.
func (p *prober) edges(f *os.File, size int64, packed string) (head, end []byte, err error) {
	head = make([]byte, plainEdge)
	if packed == "" {
		n, err := f.ReadAt(head, 0)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, err
		}
		end = make([]byte, plainEdge)
		m, err := f.ReadAt(end, max(0, size-plainEdge))
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return head[:n], end[:m], err
	}
	r, err := unpacker(io.NewSectionReader(f, 0, size), packed)
	if err != nil {
		return nil, nil, err
	}
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return head[:n], nil, err
	}
	if packed != ".gz" || !p.mayUnpack(size) {
		return head[:n], nil, errLong
	}
	last := &lastBytes{}
	_, _ = last.Write(head[:n]) // it cannot fail
	if _, err = io.Copy(last, r); err == nil && n < len(head) {
		_, err = r.Read(make([]byte, 1)) // tells the end of what is whole from a cut
		if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return head[:n], last.kept, err
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct{ kept []byte }

func (l *lastBytes) Write(p []byte) (int, error) {
	n := len(p)
	if n > plainEdge {
		p = p[n-plainEdge:]
	}
	l.kept = append(l.kept, p...)
	if len(l.kept) > plainEdge {
		l.kept = append(l.kept[:0], l.kept[len(l.kept)-plainEdge:]...)
	}
	return n, nil
}
