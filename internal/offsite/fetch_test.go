package offsite

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/lab/pbs"
	"cairn/internal/testkit"
	"cairn/pbs/datastore"
	"cairn/restic"
)

func binaryOf(t *testing.T, version string) string {
	t.Helper()
	if version == "0.14" {
		return resticBinary(t)
	}
	return testkit.Tool(t, "restic-"+version, "restic")
}

// fetch is a fetch from the newest upload, into a directory of its own.
func (h *house) fetch() Fetch {
	h.t.Helper()
	facts, err := h.client.Survey(h.t.Context())
	h.must(err)
	return Fetch{Repo: h.client, Snapshot: facts.Snapshots[len(facts.Snapshots)-1].ID, Store: h.store.Path, Target: h.t.TempDir()}
}

func silent(int, int) {}

// One guest is fetched: its indexes and their chunks, nothing of any other backup,
// and what comes of it is read by the other half of the house: byte by byte what
// was backed up.
func TestOneGuestIsFetched(t *testing.T) {
	for _, version := range []string{"0.14", "0.18", "0.19"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, binaryOf(t, version))
			h.put("101", 0)
			wanted, other := h.put("101", 1), h.put("102", 1)
			h.upload(1)
			f := h.fetch()
			all, err := f.Backups(t.Context())
			if err != nil || len(all) != 3 || all[1].ID != "101" || all[1].Time.Unix() != wanted.Time {
				t.Fatalf("it lists %+v, %v", all, err)
			}
			of := all[1]
			need, err := f.Need(t.Context(), restic.How{}, of)
			if err != nil || len(need.Chunks) == 0 || len(need.Files) != 3 {
				t.Fatalf("it needs %+v, %v", need, err)
			}
			got, err := f.Run(t.Context(), restic.How{}, of, silent)
			if err != nil || got.Brought != len(need.Chunks) || got.Bytes == 0 || got.Opaque != 0 {
				t.Fatalf("%+v, %v", got, err)
			}
			h.onlyThat(f, got.Need)
			made, err := pbs.Reuse("usb", f.At().Path)
			if err != nil || len(made.Snapshots) != 1 {
				t.Fatalf("%+v, %v", made, err)
			}
			for _, c := range content(wanted) {
				if data, err := made.Read(made.Snapshots[0], c.Name); err != nil || !bytes.Equal(data, c.Data) {
					t.Errorf("%s came back as %d bytes, %v", c.Name, len(data), err)
				}
			}
			// again it fetches nothing; with a chunk that was damaged meanwhile, that one
			if again, err := f.Run(t.Context(), restic.How{}, of, silent); err != nil || again.Brought != 0 {
				t.Errorf("again: %+v, %v", again, err)
			}
			h.must(os.WriteFile(filepath.Join(f.At().Path, need.Chunks[0].Path()), []byte("torn"), 0o600))
			if again, err := f.Run(t.Context(), restic.How{}, of, silent); err != nil || again.Brought != 1 {
				t.Errorf("after damage: %+v, %v", again, err)
			}
			// a second guest goes beside it
			second := datastore.Snapshot{Namespace: other.NS, Type: other.Type, ID: other.ID, Time: time.Unix(other.Time, 0).UTC()}
			if _, err := f.Run(t.Context(), restic.How{}, second, silent); err != nil {
				t.Error(err)
			}
			if both, err := f.At().Snapshots(); err != nil || len(both) != 2 {
				t.Errorf("%v, %v", both, err)
			}
		})
	}
}

// onlyThat looks that nothing was fetched but one backup.
func (h *house) onlyThat(f Fetch, need datastore.Need) {
	h.t.Helper()
	chunks, files := 0, 0
	h.must(filepath.WalkDir(f.Target, func(name string, d fs.DirEntry, err error) error {
		switch _, isChunk := datastore.ParseChunk(name); {
		case err != nil || d.IsDir():
			return err
		case isChunk:
			chunks++
		case strings.HasPrefix(name, filepath.Join(f.At().Path, need.Snapshot.Dir())+"/") || filepath.Base(name) == "owner":
			files++
		default:
			h.t.Errorf("%s was fetched too", name)
		}
		return nil
	}))
	if chunks != len(need.Chunks) || files != len(need.Files)+2 {
		h.t.Errorf("%d chunks and %d files were fetched, of %d and %d", chunks, files, len(need.Chunks), len(need.Files)+2)
	}
}

// A chunk that the off-site snapshot does not hold, or holds damaged, is named:
// what was fetched is not taken for whole.
func TestAFetchThatLacksAChunkSaysSo(t *testing.T) {
	for what, spoil := range map[string]func(path string) error{
		"chunks are missing": os.Remove,
		"its content is not": func(path string) error { return os.WriteFile(path, blobOf("another content"), 0o644) },
	} {
		t.Run(what, func(t *testing.T) {
			h := newHouse(t, resticBinary(t))
			s := h.put("101", 0)
			h.must(spoil(h.own(s)))
			h.upload(0)
			f := h.fetch()
			_, err := f.Run(t.Context(), restic.How{}, datastore.Snapshot{Namespace: "lab", Type: "vm", ID: "101", Time: began}, silent)
			if err == nil || !strings.Contains(err.Error(), what) || !strings.Contains(err.Error(), "lab/vm/101/2026-01-02T02:00:00Z") {
				t.Errorf("it says %v", err)
			}
		})
	}
}

// blobOf is a whole blob: magic, checksum, data.
func blobOf(text string) []byte {
	head := []byte{0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1}
	return append(binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE([]byte(text))), text...)
}
