package pbs

import (
	"bytes"
	"encoding/hex"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"sort"
	"strings"
	"testing"
	"time"

	"cairn/internal/command"
)

func onDisk(t *testing.T) (*Datastore, *Snapshot, *Snapshot) {
	t.Helper()
	d := &Datastore{Name: "usb", Path: t.TempDir(), Namespaces: []string{"lab", "lab/old"}}
	vm := &Snapshot{NS: "lab", Type: "vm", ID: "100", Time: t0.Unix(), Owner: "backup@pbs", Comment: "web01", Protected: true}
	ct := &Snapshot{NS: "lab/old", Type: "ct", ID: "200", Time: t0.Unix(), Owner: "backup@pbs"}
	if err := d.Put(vm, Content{"qemu-server.conf.blob", 0, []byte("memory: 512\n")}, Content{"drive-scsi0.img.fidx", 8 << 30, []byte("hello disk")}, Content{"drive-efidisk0.img.fidx", 528 << 10, []byte("efi")}); err != nil {
		t.Fatal(err)
	}
	if err := d.Put(ct, Content{"root.pxar.didx", 0, bytes.Repeat([]byte("container "), 20000)}); err != nil {
		t.Fatal(err)
	}
	return d, vm, ct
}

func TestWhatIsOnDiskComesBack(t *testing.T) {
	d, vm, ct := onDisk(t)
	for _, x := range []struct {
		s    *Snapshot
		name string
		want string
	}{
		{vm, "qemu-server.conf.blob", "memory: 512\n"}, {vm, "drive-scsi0.img.fidx", "hello disk"},
		{vm, "drive-efidisk0.img.fidx", "efi"}, {ct, "root.pxar.didx", strings.Repeat("container ", 20000)},
	} {
		if got, err := d.Read(x.s, x.name); err != nil || string(got) != x.want {
			t.Errorf("%s: %.20q, %v", x.name, got, err)
		}
	}
	if vm.Files[1].Size != 8<<30 || ct.Files[0].Size != 200000 {
		t.Errorf("sizes: %+v %+v", vm.Files, ct.Files)
	}
}

// The chunk of 4 MiB zeros is the best known of all.
func TestZeroChunk(t *testing.T) {
	d, _, _ := onDisk(t)
	const known = "bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8"
	data, err := loadChunk(d.Path, digest(unhex(known)))
	if err != nil || len(data) != chunkSize {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// The compressed chunks are read by the real zstd, where it is installed.
func TestZstdReadsTheFrames(t *testing.T) {
	for _, tail := range []string{"", "x", strings.Repeat("tail", 50000)} {
		for _, size := range []int{528 << 10, chunkSize, 300001} {
			packed := frame(size, []byte(tail))
			plain, err := unframe(packed)
			if err != nil || len(plain) != size || !bytes.HasSuffix(plain, []byte(tail)) {
				t.Fatalf("size %d, tail of %d: %d bytes, %v", size, len(tail), len(plain), err)
			}
			if _, err := exec.LookPath("zstd"); err != nil {
				continue
			}
			var out bytes.Buffer
			_, err = command.Run(t.Context(), command.Spec{Argv: []string{"zstd", "-dc"}, Stdin: bytes.NewReader(packed), Raw: &out})
			if err != nil || !bytes.Equal(out.Bytes(), plain) {
				t.Errorf("zstd -d: %d bytes, %v", out.Len(), err)
			}
		}
	}
}

func TestANewServerFindsItAll(t *testing.T) {
	d, _, _ := onDisk(t)
	flight := &Snapshot{NS: "lab", Type: "vm", ID: "101", Time: t0.Unix(), Owner: "backup@pbs"}
	if err := d.Open(flight); err != nil {
		t.Fatal(err)
	}
	found, err := Reuse("usb", d.Path)
	if err != nil {
		t.Fatal(err)
	}
	order := func(list []*Snapshot) []*Snapshot {
		sort.Slice(list, func(i, j int) bool { return list[i].ID < list[j].ID })
		for _, s := range list {
			for i := range s.Files {
				if s.Files[i].Name == indexName {
					s.Files[i].Csum = ""
				}
			}
		}
		return list
	}
	if got, want := order(found.Snapshots), order(d.Snapshots); !reflect.DeepEqual(got, want) {
		t.Errorf("found %+v, want %+v", got, want)
	}
	if !reflect.DeepEqual(found.Namespaces, d.Namespaces) {
		t.Errorf("namespaces %v", found.Namespaces)
	}
	if _, err := Reuse("usb", t.TempDir()); err == nil {
		t.Error("an empty directory passes for a datastore")
	}
}

// A flipped byte and a missing chunk are found by a verification.
func TestVerificationReadsTheDisk(t *testing.T) {
	d, vm, ct := onDisk(t)
	w := fixture()
	d.Snapshots = append([]*Snapshot{}, vm, ct)
	w.Datastores = []*Datastore{d}
	c := start(t, w)
	verify := func(ns string) string {
		c.post("/admin/datastore/usb/verify", url.Values{"ns": {ns}})
		for _, row := range c.rows(reader, "/admin/datastore/usb/snapshots?ns="+url.QueryEscape(ns)) {
			return row["verification"].(map[string]any)["state"].(string)
		}
		return ""
	}
	if got := verify("lab"); got != "ok" {
		t.Errorf("whole: %s", got)
	}
	raw, err := os.ReadFile(filepath.Join(d.Dir(ct), "root.pxar.didx"))
	if err != nil {
		t.Fatal(err)
	}
	x, err := decodeIndex(raw)
	if err != nil {
		t.Fatal(err)
	}
	chunk := ChunkPath(d.Path, hex.EncodeToString(x.entries[0].digest[:]))
	bytes, err := os.ReadFile(chunk)
	if err != nil {
		t.Fatal(err)
	}
	bytes[len(bytes)-1] ^= 1
	if err := os.WriteFile(chunk, bytes, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := verify("lab/old"); got != "failed" {
		t.Errorf("after a flipped bit: %s", got)
	}
}

func TestGarbageCollection(t *testing.T) {
	d, vm, ct := onDisk(t)
	w := fixture()
	w.Datastores = []*Datastore{d}
	c := start(t, w)
	count := func() int {
		found, err := filepath.Glob(filepath.Join(d.Path, ".chunks", "*", "*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	before := count()
	c.server.Change(func(w *World) {
		if err := d.Remove(ct); err != nil {
			t.Error(err)
		}
		if err := d.Remove(vm); err == nil {
			t.Error("a protected snapshot went")
		}
	})
	c.post("/admin/datastore/usb/gc", nil)
	if got := c.data(reader, "/admin/datastore/usb/gc").(map[string]any); got["last-run-state"] != "OK" || got["removed-bytes"] == 0.0 {
		t.Errorf("status: %v", got)
	}
	if after := count(); after >= before || after == 0 {
		t.Errorf("%d chunks before, %d after", before, after)
	}
	if err := d.diskVerify(vm); err != nil {
		t.Errorf("what is left: %v", err)
	}
}

func FuzzUnblob(f *testing.F) {
	f.Add(blob(plainMagic, []byte("x")))
	f.Add(blob(zstdMagic, frame(1<<20, []byte("tail"))))
	f.Fuzz(func(t *testing.T, raw []byte) { _, _ = unblob(raw) })
}

func FuzzDecodeIndex(f *testing.F) {
	f.Add(index{fixed: true, size: 10, created: t0.Unix(), entries: []entry{{end: 10}}}.encode())
	f.Add(index{created: time.Now().Unix(), entries: []entry{{end: 10}}}.encode())
	f.Fuzz(func(t *testing.T, raw []byte) { _, _ = decodeIndex(raw) })
}
