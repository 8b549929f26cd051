package offsite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cairn/internal/backup"
	"cairn/internal/command"
	"cairn/internal/history"
	"cairn/internal/lab/pbs"
	"cairn/internal/secret"
	"cairn/internal/testkit"
	"cairn/pbs/datastore"
	"cairn/restic"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var began = time.Date(2026, 1, 2, 2, 0, 0, 0, time.UTC)

// house is a datastore, a directory of dumps and a repository of them.
type house struct {
	t       *testing.T
	binary  string
	dir     string
	store   *pbs.Datastore
	client  *restic.Client
	config  restic.Config
	ledger  *history.Store
	prover  *Prover
	counted *counting
	dumps   []Dump
}

// counting counts what is asked of a repository.
type counting struct {
	*restic.Client
	lists, dumps int
	broken       error
}

func (c *counting) EachFile(ctx context.Context, id string, dirs []string, limit time.Duration, each func([]byte, int64) error) error {
	c.lists++
	if c.broken != nil {
		return c.broken
	}
	return c.Client.EachFile(ctx, id, dirs, limit, each)
}

func (c *counting) DumpFile(ctx context.Context, id, path string, most int64, limit time.Duration) ([]byte, error) {
	c.dumps++
	return c.Client.DumpFile(ctx, id, path, most, limit)
}

func newHouse(t *testing.T, binary string) *house {
	dir := t.TempDir()
	h := &house{t: t, binary: binary, dir: dir, store: &pbs.Datastore{Name: "usb", Path: filepath.Join(dir, "pbs"), Namespaces: []string{"lab"}}}
	for _, d := range []string{"pbs/.chunks", "pg"} {
		h.must(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	h.must(os.WriteFile(filepath.Join(dir, "password"), []byte(testkit.ResticPassword), 0o600))
	testkit.ResticRepository(t, filepath.Join(dir, "repo"))
	h.config = restic.Config{Repository: filepath.Join(dir, "repo"), Binary: binary, Password: secret.Source{File: filepath.Join(dir, "password")}, Site: "away"}
	h.client = restic.New("cloud", h.config, secret.Reader{Getenv: os.Getenv})
	t.Cleanup(h.client.Close)
	var err error
	h.ledger, err = history.Open(t.Context(), filepath.Join(dir, "state", "history.db"))
	h.must(err)
	t.Cleanup(func() { _ = h.ledger.Close() })
	h.counted = &counting{Client: h.client}
	h.again()
	return h
}

// again makes a new Prover, as another process would.
func (h *house) again() {
	h.prover = &Prover{Now: func() time.Time { return began.Add(30 * 24 * time.Hour) }, Ledger: h.ledger}
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func backupOf(id string, night int) *pbs.Snapshot {
	return &pbs.Snapshot{NS: "lab", Type: "vm", ID: id, Time: began.Add(time.Duration(night) * 24 * time.Hour).Unix(), Owner: "b@pbs"}
}

func content(s *pbs.Snapshot) []pbs.Content {
	return []pbs.Content{
		{Name: "drive-scsi0.img.fidx", Size: 40 << 20, Data: []byte(s.ID + time.Unix(s.Time, 0).String())},
		{Name: "root.pxar.didx", Data: []byte(strings.Repeat("files of "+s.ID+time.Unix(s.Time, 0).String(), 5000))},
		{Name: "qemu-server.conf.blob", Data: []byte("name: " + s.ID)},
	}
}

func (h *house) put(id string, night int) *pbs.Snapshot {
	h.t.Helper()
	s := backupOf(id, night)
	h.must(h.store.Put(s, content(s)...))
	return s
}

// own returns a chunk's file that only this backup needs.
func (h *house) own(s *pbs.Snapshot) string {
	h.t.Helper()
	store := datastore.Store{Path: h.store.Path}
	all, err := store.Snapshots()
	h.must(err)
	used := map[datastore.Digest]int{}
	var mine []datastore.Digest
	for _, one := range all {
		need, err := store.Need(one)
		h.must(err)
		for _, d := range need.Chunks {
			used[d]++
		}
		if one.ID == s.ID && one.Time.Unix() == s.Time {
			mine = need.Chunks
		}
	}
	for _, d := range mine {
		if used[d] == 1 {
			return filepath.Join(h.store.Path, d.Path())
		}
	}
	h.t.Fatal("no chunk of its own")
	return ""
}

func (h *house) restic(args ...string) {
	h.t.Helper()
	argv := append([]string{h.binary, "-r", h.config.Repository, "--no-cache", "-q", "-p", filepath.Join(h.dir, "password")}, args...)
	if r, err := command.Run(h.t.Context(), command.Spec{Argv: argv}); err != nil {
		h.t.Fatalf("%v %s", err, r.Stderr)
	}
}

// upload backs everything up, an hour after the backup of a night began.
func (h *house) upload(night int, more ...string) {
	h.t.Helper()
	at := began.Add(time.Duration(night)*24*time.Hour + time.Hour)
	h.restic(append([]string{"backup", "--time", at.Local().Format(time.DateTime), h.store.Path, filepath.Join(h.dir, "pg")}, more...)...)
}

func (h *house) holdings() Holdings {
	h.t.Helper()
	facts, err := h.client.Survey(h.t.Context())
	h.must(err)
	return Holdings{Targets: []Target{{Name: "restic.cloud", Repo: h.counted, Snapshots: facts.Snapshots}}, Stores: []Store{{"pbs.nas", h.store.Path}}, Dumps: h.dumps}
}

// proven proves and returns, by copy, "" where a complete one is off-site, else
// why not.
func (h *house) proven() map[string]string {
	h.t.Helper()
	h.must(h.prover.Prove(h.t.Context(), h.holdings()))
	return h.known()
}

func (h *house) known() map[string]string {
	h.t.Helper()
	all, err := h.prover.Known(h.t.Context())
	h.must(err)
	out := map[string]string{}
	for _, p := range all {
		if old, ok := out[p.Copy]; !ok || old != "" {
			out[p.Copy] = p.Missing
		}
		if p.Complete != (p.Missing == "") || p.Level != backup.MetadataRead || p.At.IsZero() || p.Taken.IsZero() {
			h.t.Errorf("%+v", p)
		}
	}
	return out
}

func (h *house) expect(got map[string]string, s *pbs.Snapshot, want string) {
	h.t.Helper()
	key := datastore.Snapshot{Namespace: s.NS, Type: s.Type, ID: s.ID, Time: time.Unix(s.Time, 0)}.Key()
	said, asked := got[key]
	if !asked || (want == "") != (said == "") || !strings.Contains(said, want) {
		h.t.Errorf("%s: asked %v, said %q, want %q", key, asked, said, want)
	}
}

func resticBinary(t *testing.T) string { return testkit.Program(t, "restic") }

func TestWholeBackupsAreProven(t *testing.T) {
	for _, version := range []string{"0.14", "0.18", "0.19"} {
		t.Run(version, func(t *testing.T) {
			binary := resticBinary(t)
			if version != "0.14" {
				binary = testkit.Tool(t, "restic-"+version, "restic")
			}
			h := newHouse(t, binary)
			a, b := h.put("101", 0), h.put("102", 0)
			dump := filepath.Join(h.dir, "pg", "db.dump")
			h.must(os.WriteFile(dump, []byte("a dump"), 0o600))
			h.must(os.MkdirAll(filepath.Join(h.dir, "pg", "base"), 0o755))
			h.must(os.WriteFile(filepath.Join(h.dir, "pg", "base", "base.tar"), []byte("a base backup"), 0o600))
			asset := backup.AssetID{Kind: backup.Database, Scope: "erp", Name: "db"}
			h.dumps = []Dump{{Source: "postgres.erp", Asset: asset, Path: dump, Taken: began},
				{Source: "postgres.erp", Asset: backup.AssetID{Kind: backup.Cluster, Scope: "erp"}, Path: filepath.Join(h.dir, "pg", "base"), Taken: began}}
			h.upload(0)
			got := h.proven()
			h.expect(got, a, "")
			h.expect(got, b, "")
			if len(got) != 4 || got[dump] != "" || h.counted.lists != 1 || h.counted.dumps != 0 {
				t.Errorf("%v, %d lists, %d dumps", got, h.counted.lists, h.counted.dumps)
			}
			h.again()
			if got := h.proven(); len(got) != 4 || h.counted.lists != 1 {
				t.Errorf("nothing has changed, and it was listed %d times: %v", h.counted.lists, got)
			}
			all, _ := h.prover.Known(t.Context())
			for _, p := range all {
				if p.Copy == dump && p.Asset != asset || p.Source == "pbs.nas" && p.Asset != (backup.AssetID{}) {
					t.Errorf("%+v", p)
				}
			}
		})
	}
}

func TestOneMissingChunkIsNoCopy(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	a, b := h.put("101", 0), h.put("102", 0)
	path := h.own(a)
	raw, err := os.ReadFile(path)
	h.must(err)
	h.must(os.Remove(path))
	h.upload(0)
	got := h.proven()
	h.expect(got, a, "1 of the ")
	h.expect(got, a, filepath.Base(path)[:12])
	h.expect(got, b, "")
	// Once the chunk is back, the next upload holds it.
	h.must(os.WriteFile(path, raw, 0o644))
	h.upload(1)
	h.expect(h.proven(), a, "")
	if h.counted.lists != 2 {
		t.Errorf("%d lists", h.counted.lists)
	}
}

func TestAnotherSizeIsMissing(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	a, b, c := h.put("101", 0), h.put("102", 0), h.put("103", 0)
	chunk, index := h.own(a), filepath.Join(h.store.Dir(b), "drive-scsi0.img.fidx")
	dump := filepath.Join(h.dir, "pg", "db.dump")
	h.dumps = []Dump{{Source: "postgres.erp", Asset: backup.AssetID{Kind: backup.Database, Scope: "erp", Name: "db"}, Path: dump, Taken: began}}
	whole := map[string][]byte{dump: []byte("a whole dump")}
	for _, path := range []string{chunk, index} {
		raw, err := os.ReadFile(path)
		h.must(err)
		whole[path] = raw
	}
	for path, raw := range whole {
		h.must(os.WriteFile(path, raw[:len(raw)-1], 0o644))
	}
	h.upload(0)
	for path, raw := range whole {
		h.must(os.WriteFile(path, raw, 0o644))
	}
	got := h.proven()
	h.expect(got, a, "another size")
	h.expect(got, b, "drive-scsi0.img.fidx has")
	h.expect(got, c, "")
	if !strings.Contains(got[dump], "has 11 bytes, here it has 12") {
		t.Errorf("%q", got[dump])
	}
}

func TestABackupThatCompletesDuringTheUploadIsNone(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	whole, torn := h.put("101", 0), backupOf("102", 0)
	h.must(h.store.Open(torn))
	h.upload(0)
	h.must(h.store.Close(torn, content(torn)))
	got := h.proven()
	h.expect(got, whole, "")
	h.expect(got, torn, "nothing of it is there")
	// Its directory came last, its first chunks before it: they are not all there.
	late := h.put("103", 1)
	exclude := filepath.Join(h.dir, "exclude")
	h.must(os.WriteFile(exclude, []byte(h.own(late)+"\n"), 0o600))
	h.upload(1, "--exclude-file", exclude)
	h.expect(h.proven(), late, "1 of the ")
	// All but the manifest, which comes last.
	early := h.put("104", 2)
	h.must(os.WriteFile(exclude, []byte(filepath.Join(h.store.Dir(early), datastore.ManifestName)+"\n"), 0o600))
	h.upload(2, "--exclude-file", exclude)
	h.expect(h.proven(), early, "is missing, so it was being uploaded")
}

func TestNotesAndVerificationsChangeNothing(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	a := h.put("101", 0)
	h.upload(0)
	notes := "verified since, and noted at length"
	h.must(h.store.Annotate(a, &notes, nil))
	h.expect(h.proven(), a, "")
	if h.counted.dumps != 1 {
		t.Errorf("its manifest was read %d times", h.counted.dumps)
	}
}

// PBS keeps five days, an upload comes each week: what is off-site is long gone
// here.
func TestABackupThatWasPrunedHereIsProven(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	a, b := h.put("101", 0), h.put("102", 0)
	broken := h.own(b)
	h.must(os.Remove(broken))
	h.upload(0)
	for _, s := range []*pbs.Snapshot{a, b} {
		h.must(os.RemoveAll(h.store.Dir(s)))
		h.store.Snapshots = slices.DeleteFunc(h.store.Snapshots, func(o *pbs.Snapshot) bool { return o == s })
	}
	h.put("101", 5)
	h.put("102", 5)
	got := h.proven()
	h.expect(got, a, "")
	h.expect(got, b, "1 of the ")
	h.again()
	h.proven()
	if h.counted.lists != 1 {
		t.Errorf("%d lists", h.counted.lists)
	}
}

func TestAnswersGoWithTheirSnapshot(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	a := h.put("101", 0)
	h.upload(0)
	h.expect(h.proven(), a, "")
	facts, err := h.client.Survey(t.Context())
	h.must(err)
	h.restic("forget", facts.Snapshots[0].ID)
	if got := h.proven(); len(got) != 0 {
		t.Errorf("it is forgotten there: %v", got)
	}
	all, err := h.ledger.Compared(t.Context())
	h.must(err)
	if len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

func TestWhatCannotBeReadIsNoAnswer(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	a, b := h.put("101", 0), h.put("102", 0)
	h.upload(0)
	h.counted.broken = errors.New("the line is cut")
	if err := h.prover.Prove(t.Context(), h.holdings()); !errors.Is(err, h.counted.broken) {
		t.Errorf("got %v", err)
	}
	if got := h.known(); len(got) != 0 {
		t.Errorf("%v", got)
	}
	h.counted.broken = nil
	index := filepath.Join(h.store.Dir(a), "drive-scsi0.img.fidx")
	raw, err := os.ReadFile(index)
	h.must(err)
	raw[len(raw)-1] ^= 1
	h.must(os.WriteFile(index, raw, 0o644))
	if err := h.prover.Prove(t.Context(), h.holdings()); err == nil || !strings.Contains(err.Error(), "drive-scsi0.img.fidx of lab/vm/101/") {
		t.Errorf("an index that is damaged here: %v", err)
	}
	got := h.known()
	h.expect(got, b, "")
	if len(got) != 1 {
		t.Errorf("%v", got)
	}
	h.must(os.RemoveAll(h.store.Path))
	if err := h.prover.Prove(t.Context(), h.holdings()); !errors.Is(err, datastore.ErrAbsent) {
		t.Errorf("the disk is away: %v", err)
	}
	if got := h.known(); len(got) != 1 {
		t.Errorf("what was proven stays so: %v", got)
	}
}

func TestOnlySnapshotsOfTheDatastoreAreListed(t *testing.T) {
	h := newHouse(t, resticBinary(t))
	h.put("101", 0)
	h.restic("backup", filepath.Join(h.dir, "pg"))
	if got := h.proven(); len(got) != 0 || h.counted.lists != 0 {
		t.Errorf("%v, %d lists", got, h.counted.lists)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h.upload(0)
	facts := h.holdings()
	if err := h.prover.Prove(ctx, facts); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
