package restic

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/restic/chunker"
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

// Cutter cuts files into pieces where a repository does: the repository's own
// polynomial says where, so the same file has the same pieces in it each time, and
// their ids tell its content without one byte of it being fetched. Made by
// Client.Cutter.
type Cutter struct{ polynomial chunker.Pol }

// newCutter makes a Cutter of a polynomial over GF(2), in bits.
func newCutter(polynomial uint64) (*Cutter, error) {
	c := &Cutter{chunker.Pol(polynomial)}
	if d := c.polynomial.Deg(); d < 20 || d > 55 {
		return nil, fmt.Errorf("the polynomial %x has degree %d", polynomial, d)
	}
	return c, nil
}

// Same says whether two cutters cut in the same places.
func (c *Cutter) Same(o *Cutter) bool { return c.polynomial == o.polynomial }

// Pieces reads a file to its end and returns the ids of its pieces.
func (c *Cutter) Pieces(r io.Reader) ([]Piece, error) {
	var out []Piece
	cut, buf := chunker.New(r, c.polynomial), make([]byte, chunker.MaxSize)
	for {
		piece, err := cut.Next(buf)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, sha256.Sum256(piece.Data))
	}
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
