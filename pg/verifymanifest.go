package pg

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"path/filepath"
	"strings"
	"time"
)

// verifiesOtherVersions says whether pg_verifybackup of a newer version reads base
// backups of this one. Since PostgreSQL 17 it compares pg_control, of which each
// version knows only its own: it takes a good one of another for damaged.
func verifiesOtherVersions(major int) bool { return major < 17 }

// verifyFiles reads every file that a base backup's manifest names, where no
// pg_verifybackup of its version is here. The error is a *Damage where one differs.
func verifyFiles(ctx context.Context, path, data string, w Work) error {
	m, total, err := manifestToVerify(path, data)
	if err != nil {
		return err
	}
	var done int64
	for _, f := range m.Files {
		file, err := openRegular(filepath.Join(data, f.inside()))
		if err == nil {
			err = errors.Join(f.verify(ctx, path, file), file.Close())
		}
		if err != nil {
			return damageOf(path, err)
		}
		done += f.Size
		w.tell(Progress{Done: done, Total: total, Unit: "bytes"})
	}
	return nil
}

// manifestToVerify reads the manifest of the base backup at path, and how many bytes
// its files have.
func manifestToVerify(path, data string) (m manifest, total int64, err error) {
	text, err := readLimited(filepath.Join(data, manifestName), longestManifest)
	if err != nil {
		return m, 0, fmt.Errorf("reading backup_manifest: %w", err)
	}
	if m, err = parseManifest(text); err != nil {
		return m, 0, &Damage{path, err.Error()}
	}
	for _, f := range m.Files {
		if !filepath.IsLocal(f.inside()) {
			return m, 0, &Damage{path, "backup_manifest names a file outside of the backup"}
		}
		if _, err := manifestHash(f.Algorithm); err != nil {
			return m, 0, err
		}
		total += f.Size
	}
	return m, total, nil
}

// verify reads a file of the base backup at path to its end, and compares it with
// what the manifest says of it.
func (f manifestFile) verify(ctx context.Context, path string, from io.Reader) error {
	h, err := manifestHash(f.Algorithm)
	if err != nil {
		return err
	}
	to := io.Discard
	if h != nil {
		to = h
	}
	n, err := io.Copy(to, &boundReader{ctx, from})
	switch {
	case err != nil:
		return err
	case n != f.Size:
		return &Damage{path, fmt.Sprintf("%q has %d bytes, and %d in backup_manifest", f.inside(), n, f.Size)}
	case h != nil && !strings.EqualFold(hex.EncodeToString(h.Sum(nil)), f.Checksum):
		return &Damage{path, fmt.Sprintf("%q is not what it was: its %s checksum differs from that in backup_manifest", f.inside(), f.Algorithm)}
	}
	return nil
}

// verifyTars reads the tar files of pg_basebackup -Ft, however they are compressed,
// and compares every file in them with the manifest beside. The error is a *Damage
// where one differs or is missing.
func verifyTars(ctx context.Context, path string, w Work) error {
	m, total, err := manifestToVerify(path, path)
	if err != nil {
		return err
	}
	missing := map[string]manifestFile{}
	for _, f := range m.Files {
		missing[f.inside()] = f
	}
	var done int64
	for _, file := range baseTars(path) {
		below := "" // where its files lie in the data directory
		if stem := tarName.ReplaceAllString(filepath.Base(file), ""); stem != "base" {
			below = filepath.Join("pg_tblspc", stem) // pg_wal.tar has nothing that the manifest names
		}
		err := eachOfTar(ctx, file, parseDumpName(filepath.Base(file), time.UTC).Packed, func(name string, from io.Reader) error {
			inside := filepath.Join(below, name)
			f, known := missing[inside]
			if !known {
				return nil
			}
			delete(missing, inside)
			done += f.Size
			w.tell(Progress{Done: done, Total: total, Unit: "bytes", Line: filepath.Base(file)})
			return f.verify(ctx, path, from)
		})
		if err != nil {
			return damageOf(path, err)
		}
	}
	if lacks := sortedKeys(missing); len(lacks) > 0 {
		return &Damage{path, fmt.Sprintf("%d files are missing, which backup_manifest names (%s)", len(lacks), few(lacks))}
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
