package offsite

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/pg"
	"cairn/restic"
)

// Cutting is a repository that can tell how it cuts files.
type Cutting interface {
	Cutter(context.Context) (*restic.Cutter, error)
}

// hashing compares files of dumps here with those in one off-site snapshot, each
// file once: several base backups need the same WAL.
type hashing struct {
	search  *search
	there   map[string][]restic.Piece
	cutters []*restic.Cutter
	lacks   map[string]string // by path: what is wrong with it, a sentence; empty: nothing
}

// byHash compares the content of the dumps whose names and sizes are right. An
// answer that could not be made sure is not kept, and asked for again.
func (s *search) byHash(ctx context.Context, p *Prover, answers []history.Compared) ([]history.Compared, []error) {
	files := map[string]map[string]int64{} // by copy
	all := map[string]int64{}
	for _, a := range answers {
		c, dump := s.dump(a)
		if !dump || !a.Complete {
			continue
		}
		of, err := s.filesOf(c)
		if err != nil { // gone just now
			continue
		}
		files[c.id] = of
		maps.Copy(all, of)
	}
	if len(files) == 0 {
		return answers, nil
	}
	how, compare, err := s.comparison(ctx, p, files, all)
	if err != nil {
		return s.without(answers, files), []error{err}
	}
	var out []history.Compared
	var errs []error
	for _, a := range answers {
		if of, ours := files[a.Copy]; ours && a.Complete {
			c, _ := s.dump(a)
			lack, err := lackOfContent(ctx, c, of, compare)
			if err != nil {
				if !errors.Is(err, fs.ErrNotExist) {
					errs = append(errs, err)
				}
				continue
			}
			a = s.compared(p, c, lack)
			a.How = how
		}
		out = append(out, a)
	}
	return out, errs
}

// dump finds the dump that an answer is about.
func (s *search) dump(a history.Compared) (held, bool) {
	i := slices.IndexFunc(s.copies, func(c held) bool { return c.store == "" && c.source == a.Source && c.id == a.Copy })
	if i < 0 {
		return held{}, false
	}
	return s.copies[i], true
}

// without leaves out the answers about copies that could not be compared further.
func (s *search) without(answers []history.Compared, files map[string]map[string]int64) []history.Compared {
	return slices.DeleteFunc(answers, func(a history.Compared) bool { return a.Complete && files[a.Copy] != nil })
}

// comparison tells how a file is compared: by the ids of its pieces, for which only
// metadata is fetched, or by reading all of it there.
func (s *search) comparison(ctx context.Context, p *Prover, files map[string]map[string]int64, all map[string]int64) (how string, compare func(context.Context, string, string) (string, error), err error) {
	total := int64(0)
	for _, size := range all {
		total += size
	}
	if p.Read {
		p.say("Reading the dumps in %s, %s: they are fetched from there.", s.where(), backup.SizeText(total))
		r := reading{search: s, sums: map[string][sha256.Size]byte{}}
		if err := r.fetch(ctx, files); err != nil {
			return "", nil, err
		}
		return checks.ByReading, r.lack, nil
	}
	p.say("Comparing the dumps in %s by hash: %s are read here, and only ids are fetched.", s.where(), backup.SizeText(total))
	h := hashing{search: s, lacks: map[string]string{}}
	own, err := s.target.Repo.Cutter(ctx)
	if err != nil {
		return "", nil, err
	}
	h.cutters = append(h.cutters, own)
	h.there, err = s.target.Repo.FilePieces(ctx, s.snapshot, slices.Sorted(maps.Keys(all)), s.limit(p))
	return checks.ByHash, h.lack, err
}

// lackOfContent compares the files of a dump; compare is told what the dump's own
// manifest says of each.
func lackOfContent(ctx context.Context, c held, files map[string]int64, compare func(ctx context.Context, name, recorded string) (string, error)) (string, error) {
	recorded := map[string]string{}
	if m, err := pg.ReadDumpManifest(c.path); err == nil { // others have none
		for _, f := range m.Files {
			recorded[filepath.Join(c.path, f.Path)] = f.SHA256
		}
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		lack, err := compare(ctx, name, recorded[name])
		if err != nil {
			return "", fmt.Errorf("comparing %s by hash: %w", name, err)
		}
		if lack != "" {
			return fmt.Sprintf("%s %s", name, lack), nil
		}
	}
	return "", nil
}

// lack says what is wrong with a file there.
func (h *hashing) lack(ctx context.Context, name, recorded string) (string, error) {
	if known, ok := h.lacks[name]; ok {
		return known, nil
	}
	pieces, there := h.there[name]
	if !there {
		return "is no file", nil
	}
	shared := false
	for i := 0; ; i++ {
		if i == len(h.cutters) && !h.more(ctx) {
			break
		}
		here, sum, err := piecesOf(ctx, h.cutters[i], name)
		if err != nil {
			return "", err
		}
		if slices.Equal(here, pieces) {
			h.lacks[name] = ""
			if recorded != "" && recorded != sum {
				h.lacks[name] = "has the same content there as here, and that is not what was dumped: its SHA-256 is not that of the dump's manifest"
			}
			return h.lacks[name], nil
		}
		shared = shared || slices.ContainsFunc(here, func(p restic.Piece) bool { return slices.Contains(pieces, p) })
	}
	h.lacks[name] = "has another content there than here, though it is as long"
	if !shared && len(pieces) > 1 {
		h.lacks[name] += " (or that repository cuts files in another way: cairn prove --read tells)"
	}
	return h.lacks[name], nil
}

// more asks the repositories that snapshots come from how they cut, once one file
// differs.
func (h *hashing) more(ctx context.Context) bool {
	before := len(h.cutters)
	for _, from := range h.search.target.From {
		c, err := from.Cutter(ctx)
		if err == nil && !slices.ContainsFunc(h.cutters, c.Same) { // unknown: as if it were not there
			h.cutters = append(h.cutters, c)
		}
	}
	h.search.target.From = nil
	return len(h.cutters) > before
}

// piecesOf cuts a file here. sum is the SHA-256 of all of it.
func piecesOf(ctx context.Context, c *restic.Cutter, name string) (pieces []restic.Piece, sum string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, "", err
	}
	defer f.Close()
	whole := sha256.New()
	pieces, err = c.Pieces(io.TeeReader(until{ctx, f}, whole))
	return pieces, fmt.Sprintf("%x", whole.Sum(nil)), err
}

// until is a reader that ends with its context.
type until struct {
	ctx context.Context
	io.Reader
}

func (u until) Read(p []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.Reader.Read(p)
}
