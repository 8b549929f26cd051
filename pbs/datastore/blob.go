package datastore

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Manifest is what an index.json.blob says of its backup snapshot.
type Manifest struct {
	Type  string
	ID    string
	Time  time.Time
	Files []File
	Notes string // what somebody wrote about it; PVE writes the guest's name
}

// File is one archive or blob that a manifest names.
type File struct {
	Name  string
	Crypt string // none, encrypt, sign-only
	Size  int64
	Csum  string // of an index: Index.Csum; else the SHA-256 of the file
}

// ManifestName is the file that makes a directory a backup snapshot: it is
// written last.
const ManifestName = "index.json.blob"

// ErrOpaque says that a blob is whole, and that what it holds cannot be read
// without its key.
var ErrOpaque = errors.New("it is encrypted")

// BlobHeader is the length of the smallest blob's header, bytes: a file that is
// not longer holds nothing.
const BlobHeader = 12

var (
	plainMagic   = [8]byte{0x42, 0xab, 0x38, 0x07, 0xbe, 0x83, 0x70, 0xa1}
	zstdMagic    = [8]byte{0x31, 0xb9, 0x58, 0x42, 0x6f, 0xb6, 0xa3, 0x7f}
	cryptMagic   = [8]byte{0x7b, 0x67, 0x85, 0xbe, 0x22, 0x2d, 0x4c, 0xf0}
	zcryptMagic  = [8]byte{0xe6, 0x59, 0x1b, 0xbf, 0x0b, 0xbf, 0xd8, 0x0b}
	cryptOverlay = 32 // initialisation vector and tag, after the common header
)

// ReadBlob compares a blob's checksum and returns its data. For one that is
// encrypted, and whole, the error is ErrOpaque.
func ReadBlob(raw []byte) ([]byte, error) {
	if len(raw) < BlobHeader {
		return nil, errors.New("it is shorter than a blob's header")
	}
	magic, head := [8]byte(raw), BlobHeader
	switch magic {
	case plainMagic, zstdMagic:
	case cryptMagic, zcryptMagic:
		head += cryptOverlay
	default:
		return nil, fmt.Errorf("its first bytes are %x, not those of a blob", raw[:8])
	}
	if len(raw) < head {
		return nil, errors.New("it is shorter than its header")
	}
	if crc32.ChecksumIEEE(raw[head:]) != binary.LittleEndian.Uint32(raw[8:]) {
		return nil, errors.New("its checksum differs from its content")
	}
	switch magic {
	case plainMagic:
		return raw[head:], nil
	case zstdMagic:
		return unpack(raw[head:])
	}
	return nil, ErrOpaque
}

// largestBlob is how much a compressed blob may unpack to, in bytes. PBS allows
// 128 MiB of a blob; what is read here are manifests and configurations.
const largestBlob = 128 << 20

func unpack(data []byte) ([]byte, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(largestBlob))
	if err != nil {
		return nil, fmt.Errorf("unpacking it: %w", err)
	}
	defer d.Close()
	text, err := d.DecodeAll(data, nil)
	if err != nil {
		return nil, fmt.Errorf("unpacking it: %w", err)
	}
	return text, nil
}

// ReadManifest reads an index.json.blob. Proxmox never encrypts one.
func ReadManifest(raw []byte) (Manifest, error) {
	text, err := ReadBlob(raw)
	if err != nil {
		return Manifest{}, err
	}
	var m struct {
		Type  string      `json:"backup-type"`
		ID    string      `json:"backup-id"`
		Time  json.Number `json:"backup-time"`
		Files []struct {
			Name  string      `json:"filename"`
			Crypt string      `json:"crypt-mode"`
			Size  json.Number `json:"size"`
			Csum  string      `json:"csum"`
		} `json:"files"`
		Unprotected struct {
			Notes json.RawMessage `json:"notes"`
		} `json:"unprotected"`
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return Manifest{}, fmt.Errorf("it is no manifest: %w", err)
	}
	seconds, err := m.Time.Int64()
	if err != nil || m.Type == "" || m.ID == "" {
		return Manifest{}, errors.New("it is no manifest: it does not say of what and when it is")
	}
	out := Manifest{Type: m.Type, ID: m.ID, Time: time.Unix(seconds, 0).UTC()}
	_ = json.Unmarshal(m.Unprotected.Notes, &out.Notes) // what is no text is no note
	for _, f := range m.Files {
		size, err := f.Size.Int64()
		if err != nil && f.Size != "" {
			return Manifest{}, fmt.Errorf("the size of %q is %q", f.Name, f.Size)
		}
		out.Files = append(out.Files, File{f.Name, f.Crypt, size, f.Csum})
	}
	return out, nil
}
