package restic

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"strconv"
)

// Piece is the id of a part of a file in a repository: the SHA-256 of its content.
type Piece [sha256.Size]byte

func parsePiece(text string) (p Piece, err error) {
	if !isID(text) {
		return p, fmt.Errorf("%.70q is no id", text)
	}
	_, err = hex.Decode(p[:], []byte(text))
	return p, err
}

// Cutter cuts files into pieces where a repository does: after a byte at which a
// fingerprint (of Rabin) of the 64 bytes before it ends in 20 zero bits. The
// repository's own polynomial makes the fingerprint, so the same file has the same
// pieces in it each time, and their ids tell its content without one byte of it
// being fetched. Made by Client.Cutter.
type Cutter struct {
	polynomial uint64
	degree     int
	leave      [256]uint64 // what a byte adds to the fingerprint when it leaves the window
	reduce     [256]uint64 // what brings a fingerprint back below the degree, by its bits above
}

const (
	window      = 64
	shortPiece  = 512 << 10 // no piece but a file's last one is shorter
	longPiece   = 8 << 20
	averageMask = 1<<20 - 1
)

// newCutter makes a Cutter of a polynomial over GF(2), in bits.
func newCutter(polynomial uint64) (*Cutter, error) {
	c := &Cutter{polynomial: polynomial, degree: bits.Len64(polynomial) - 1}
	if c.degree < 20 || c.degree > 55 {
		return nil, fmt.Errorf("the polynomial %x has degree %d", polynomial, c.degree)
	}
	for b := range 256 {
		left := c.next(0, byte(b))
		for range window - 1 {
			left = c.next(left, 0)
		}
		c.leave[b] = left
	}
	for b := range 256 {
		high := uint64(b) << c.degree
		c.reduce[b] = high ^ c.mod(high)
	}
	return c, nil
}

func (c *Cutter) next(print uint64, b byte) uint64 { return c.mod(print<<8 | uint64(b)) }

func (c *Cutter) mod(x uint64) uint64 {
	for over := bits.Len64(x) - 1 - c.degree; over >= 0; over = bits.Len64(x) - 1 - c.degree {
		x ^= c.polynomial << over
	}
	return x
}

// Same says whether two cutters cut in the same places.
func (c *Cutter) Same(o *Cutter) bool { return c.polynomial == o.polynomial }

// Pieces reads a file to its end and returns the ids of its pieces.
func (c *Cutter) Pieces(r io.Reader) ([]Piece, error) {
	var out []Piece
	buf := make([]byte, 2*longPiece)
	from, to := 0, 0
	for ended := false; ; {
		if to-from < longPiece && !ended {
			to = copy(buf, buf[from:to])
			from = 0
			n, err := io.ReadFull(r, buf[to:])
			to += n
			if ended = errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF); err != nil && !ended {
				return nil, err
			}
		}
		if from == to {
			return out, nil
		}
		n := c.cut(buf[from:to])
		out = append(out, sha256.Sum256(buf[from:from+n]))
		from += n
	}
}

// cut returns how long the first piece of what is left of a file is. data holds at
// least the longest piece, or all that is left.
func (c *Cutter) cut(data []byte) int {
	if len(data) <= shortPiece {
		return len(data)
	}
	data = data[:min(len(data), longPiece)]
	print, top := uint64(0), uint(c.degree-8)
	for _, b := range data[shortPiece-window : shortPiece-1] {
		print = print<<8 ^ uint64(b) ^ c.reduce[byte(print>>top)]
	}
	for i := shortPiece - 1; i < len(data); i++ { // the byte that leaves was cleared before it is shifted out
		print = print<<8 ^ uint64(data[i]) ^ c.reduce[byte(print>>top)]
		if print&averageMask == 0 {
			return i + 1
		}
		print ^= c.leave[data[i-window+1]]
	}
	return len(data)
}

// Cutter reads how the repository cuts files.
func (c *Client) Cutter(ctx context.Context) (*Cutter, error) {
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	out, err := c.query(ctx, "cat", "config")
	if err != nil {
		return nil, err
	}
	cutter, err := parseCutter(out.stdout)
	if err != nil {
		return nil, &Error{Source: c.source, Kind: Damaged, Why: err.Error(), Hint: c.hint(Damaged), Err: err}
	}
	return cutter, nil
}

func parseCutter(text []byte) (*Cutter, error) {
	var config struct {
		Polynomial string `json:"chunker_polynomial"`
	}
	if err := json.Unmarshal(text, &config); err != nil {
		return nil, fmt.Errorf("the repository's config cannot be read: %w", err)
	}
	p, err := strconv.ParseUint(config.Polynomial, 16, 64)
	if err != nil {
		return nil, fmt.Errorf("the polynomial in the repository's config cannot be read: %w", err)
	}
	return newCutter(p)
}
