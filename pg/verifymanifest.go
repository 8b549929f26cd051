package pg

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// verifiesOtherVersions says whether pg_verifybackup of a newer version reads base
// backups of this one. Since PostgreSQL 17 it compares pg_control, of which each
// version knows only its own: it takes a good one of another for damaged.
func verifiesOtherVersions(major int) bool { return major < 17 }

// verifyFiles reads every file that a base backup's manifest names, where no
// pg_verifybackup of its version is here. The error is a *Damage where one differs.
func verifyFiles(ctx context.Context, path, data string, w Work) error {
	text, err := readLimited(filepath.Join(data, manifestName), longestManifest)
	if err != nil {
		return fmt.Errorf("reading backup_manifest: %w", err)
	}
	m, err := parseManifest(text)
	if err != nil {
		return &Damage{path, err.Error()}
	}
	var done, total int64
	for _, f := range m.Files {
		total += f.Size
	}
	for _, f := range m.Files {
		inside := filePath(f.Path, f.Encoded)
		if !filepath.IsLocal(inside) {
			return &Damage{path, "backup_manifest names a file outside of the backup"}
		}
		h, err := manifestHash(f.Algorithm)
		if err != nil {
			return err
		}
		n, sum, err := sumFile(ctx, filepath.Join(data, inside), h)
		switch {
		case err != nil:
			return damageOf(path, err)
		case n != f.Size:
			return &Damage{path, fmt.Sprintf("%q has %d bytes, and %d in backup_manifest", inside, n, f.Size)}
		case !strings.EqualFold(sum, f.Checksum):
			return &Damage{path, fmt.Sprintf("%q is not what it was: its %s checksum differs from that in backup_manifest", inside, f.Algorithm)}
		}
		done += n
		w.tell(Progress{Done: done, Total: total, Unit: "bytes"})
	}
	return nil
}

// crc32c hashes as PostgreSQL does: the bytes of the sum in the machine's order.
type crc32c struct{ hash.Hash32 }

func (c crc32c) Sum(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, c.Sum32()) }

// manifestHash is the hash of a Checksum-Algorithm of backup_manifest; nil: none.
func manifestHash(algorithm string) (hash.Hash, error) {
	switch strings.ToUpper(algorithm) {
	case "":
		return nil, nil
	case "CRC32C":
		return crc32c{crc32.New(crc32.MakeTable(crc32.Castagnoli))}, nil
	case "SHA224":
		return sha256.New224(), nil
	case "SHA256":
		return sha256.New(), nil
	case "SHA384":
		return sha512.New384(), nil
	case "SHA512":
		return sha512.New(), nil
	}
	return nil, fmt.Errorf("backup_manifest has checksums of a kind that is not known here: %s", algorithm)
}

// sumFile reads a file and returns its length and checksum; empty without a hash.
func sumFile(ctx context.Context, path string, h hash.Hash) (int64, string, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	to := io.Discard
	if h != nil {
		to = h
	}
	n, err := io.Copy(to, &boundReader{ctx, f})
	if err != nil || h == nil {
		return n, "", err
	}
	return n, hex.EncodeToString(h.Sum(nil)), nil
}
