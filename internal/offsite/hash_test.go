package offsite

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
	"cairn/internal/history"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/restic"
)

func (c *counting) Dump(ctx context.Context, how restic.How, id, path string, w io.Writer) error {
	c.dumps++
	return c.Client.Dump(ctx, how, id, path, w)
}

// noise makes bytes that are the same each time and do not compress.
func noise(seed byte, n int) []byte {
	out := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(out) // it has no errors
	return out
}

func (h *house) write(name string, text []byte) string {
	h.t.Helper()
	file := filepath.Join(h.dir, "pg", name)
	h.must(os.MkdirAll(filepath.Dir(file), 0o755))
	h.must(os.WriteFile(file, text, 0o600))
	h.must(os.Chtimes(file, began, began))
	return file
}

// dump writes a dump of ours, with its manifest, and returns its directory.
func (h *house) dump(name string, files map[string][]byte) string {
	h.t.Helper()
	type entry struct {
		Path   string `json:"path"`
		SHA256 string `json:"sha256"`
	}
	var all []entry
	for file, text := range files {
		h.write(filepath.Join(name, file), text)
		all = append(all, entry{file, fmt.Sprintf("%x", sha256.Sum256(text))})
	}
	text, err := json.Marshal(map[string]any{"cairn_dump": 1, "database": map[string]string{"name": name}, "files": all})
	h.must(err)
	dir := filepath.Dir(h.write(filepath.Join(name, "cairn-dump.json"), text))
	h.dumps = append(h.dumps, Dump{Source: "postgres.erp", Asset: backup.AssetID{Kind: backup.Database, Scope: "erp", Name: name}, Path: dir, Taken: began})
	return dir
}

// proof returns the newest answer about a copy.
func (h *house) proof(copied string) (out checks.OffSiteProof) {
	h.t.Helper()
	all, err := h.prover.Known(h.t.Context())
	h.must(err)
	for _, p := range all {
		if p.Copy == copied && !p.At.Before(out.At) {
			out = p
		}
	}
	return out
}

// One byte of a dump is another one off-site; its name, size and time are not.
func TestOneByteThatDiffersIsFound(t *testing.T) {
	for _, version := range []string{"0.14", "0.18", "0.19"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			binary := resticBinary(t)
			if version != "0.14" {
				binary = testkit.Tool(t, "restic-"+version, "restic")
			}
			h := newHouse(t, binary)
			text := noise(1, 3<<20)
			bad, good := h.dump("openprod", map[string][]byte{"3001.dat": text, "toc.dat": []byte("toc"), "blobs/0.dat": nil}), h.dump("jasper", map[string][]byte{"toc.dat": []byte("toc of jasper")})
			changed := append([]byte{}, text...)
			changed[2<<20] ^= 1
			h.write("openprod/3001.dat", changed)
			h.upload(0)
			h.write("openprod/3001.dat", text)
			got := h.proven()
			if !strings.Contains(got[bad], "openprod/3001.dat has another content there than here") || strings.Contains(got[bad], "cuts files") || got[good] != "" || h.counted.dumps != 0 {
				t.Errorf("%v after %d files were fetched", got, h.counted.dumps)
			}
			if p := h.proof(bad); p.Complete || !p.Altered() || p.Asset.Name != "openprod" {
				t.Errorf("%+v", p)
			}
			if p := h.proof(good); !p.Complete || p.How != checks.ByHash || p.Level != backup.MetadataRead {
				t.Errorf("%+v", p)
			}
			h.again()
			h.prover.Read = true
			h.must(h.prover.Prove(t.Context(), h.holdings()))
			if p := h.proof(bad); p.Complete || !strings.Contains(p.Missing, "its SHA-256 is ") {
				t.Errorf("read: %+v", p)
			}
			if p := h.proof(good); !p.Complete || p.How != checks.ByReading || p.Level != backup.EveryByteRead {
				t.Errorf("read: %+v", p)
			}
			fetched := h.counted.dumps
			h.must(h.prover.Prove(t.Context(), h.holdings()))
			if h.counted.dumps != fetched {
				t.Errorf("neither changes, and it was read again: %d after %d", h.counted.dumps, fetched)
			}
		})
	}
}

// What was damaged here before the upload is the same there, and not what was dumped.
func TestADamageThatWasUploadedIsFound(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	dir := h.dump("openprod", map[string][]byte{"3001.dat": []byte("all the orders")})
	h.write("openprod/3001.dat", []byte("all the 0rders"))
	h.upload(0)
	if got := h.proven(); !strings.Contains(got[dir], "that is not what was dumped") {
		t.Errorf("%v", got)
	}
}

func TestASegmentOfWALThatDiffersIsFound(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	base := filepath.Dir(h.write("base/20260102/base.tar", noise(2, 100_000)))
	segments := map[string][]byte{}
	for i := range 3 {
		name := fmt.Sprintf("00000001000000000000000%d", i+1)
		segments[name] = noise(byte(i), 700_000)
		h.write("wal/"+name, segments[name])
	}
	h.dumps = []Dump{{Source: "postgres.erp", Asset: backup.AssetID{Kind: backup.Cluster, Scope: "erp"}, Path: base, Taken: began,
		WAL: filepath.Join(h.dir, "pg", "wal"), From: "000000010000000000000002"}}
	h.upload(0)
	whole := h.holdings()
	for name, wrong := range map[string]bool{"000000010000000000000001": false, "000000010000000000000003": true} {
		h.write("wal/"+name, noise(99, 700_000))
		p := &Prover{Now: h.prover.Now}
		h.must(p.Prove(t.Context(), whole))
		known, err := p.Known(t.Context())
		h.must(err)
		for _, proof := range known {
			if proof.Complete == wrong || wrong && !strings.Contains(proof.Missing, name+" has another content") {
				t.Errorf("%s: %+v", name, proof)
			}
		}
		h.write("wal/"+name, segments[name])
	}
	h.prover.Read = true
	h.must(h.prover.Prove(t.Context(), whole))
	if p := h.proof(base); !p.Complete || h.counted.dumps != 2 { // the backup and its WAL
		t.Errorf("%+v, %d", p, h.counted.dumps)
	}
}

// cutsAs is a repository whose config says that it cuts as another one does.
type cutsAs struct {
	*counting
	other *restic.Client
}

func (c cutsAs) Cutter(ctx context.Context) (*restic.Cutter, error) { return c.other.Cutter(ctx) }

// A repository that was filled by `restic copy`, and not made with the parameters
// of the other one, holds pieces as that one cuts.
func TestPiecesOfARepositoryThatCutsDifferently(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	dir := h.dump("openprod", map[string][]byte{"3001.dat": noise(3, 4<<20)})
	h.upload(0)
	cfg := h.config
	cfg.Repository = filepath.Join(h.dir, "another")
	h.restic("-r", cfg.Repository, "init")
	another := restic.New("another", cfg, secret.Reader{Getenv: os.Getenv})
	t.Cleanup(another.Close)
	holdings := h.holdings()
	holdings.Targets[0].Repo = cutsAs{h.counted, another}
	prove := func(p *Prover, from ...Cutting) checks.OffSiteProof {
		holdings.Targets[0].From = from
		h.must(p.Prove(t.Context(), holdings))
		h.prover = p
		return h.proof(dir)
	}
	if p := prove(&Prover{Now: time.Now}, h.client); !p.Complete || p.How != checks.ByHash {
		t.Errorf("it is known how the other one cuts: %+v", p)
	}
	if p := prove(&Prover{Now: time.Now}); p.Complete || !strings.Contains(p.Missing, "cairn prove --read tells") {
		t.Errorf("it is not known: %+v", p)
	}
	if p := prove(&Prover{Now: time.Now, Read: true}); !p.Complete || p.How != checks.ByReading {
		t.Errorf("it was read: %+v", p)
	}
}

// Answers of a cairn that compared names and sizes only are asked for anew.
func TestAnOlderAnswerIsMadeSure(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	dir := h.dump("openprod", map[string][]byte{"toc.dat": []byte("toc")})
	h.upload(0)
	s := h.holdings().Targets[0].Snapshots[0]
	h.must(h.ledger.RecordCompared(t.Context(), history.Compared{Repository: "restic.cloud", Snapshot: s.ID, Source: "postgres.erp", Copy: dir,
		Asset: h.dumps[0].Asset.String(), Taken: began, Complete: true, At: began}))
	h.known()
	if p := h.proof(dir); p.How != checks.ByNameAndSize {
		t.Errorf("%+v", p)
	}
	h.proven()
	if p := h.proof(dir); !p.Complete || p.How != checks.ByHash {
		t.Errorf("%+v", p)
	}
}

// A repository that cannot be read further gives no answer, and is asked again.
func TestPiecesThatCannotBeReadAreNoAnswer(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	h.dump("openprod", map[string][]byte{"toc.dat": []byte("toc")})
	h.upload(0)
	holdings := h.holdings()
	holdings.Targets[0].Snapshots = slices.Clone(holdings.Targets[0].Snapshots)
	holdings.Targets[0].Snapshots[0].Tree = "none"
	if err := h.prover.Prove(t.Context(), holdings); err == nil || len(h.known()) != 0 {
		t.Errorf("%v, %v", err, h.known())
	}
	if got := h.proven(); len(got) != 1 || got[h.dumps[0].Path] != "" {
		t.Errorf("%v", got)
	}
}
