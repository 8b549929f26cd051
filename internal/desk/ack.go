package desk

import (
	"context"

	"cairn/internal/history"
)

// Acknowledge takes note of the problem id: while its fingerprint stays the same it
// no longer counts. summary is what it says now, for the audit trail.
func (d *Desk) Acknowledge(ctx context.Context, id, fingerprint, summary string) error {
	if err := d.mayRecord(); err != nil {
		return err
	}
	if err := d.o.History.Acknowledge(ctx, id, fingerprint, d.o.By.Who, d.o.Now()); err != nil {
		return err
	}
	return d.o.History.Audit(ctx, history.Entry{At: d.o.Now(), Who: d.o.By.Who, Origin: d.o.By.From, What: "acknowledge", Target: id, Result: summary})
}

// Unacknowledge takes an acknowledgement back: the problem counts again.
func (d *Desk) Unacknowledge(ctx context.Context, id string) error {
	if err := d.mayRecord(); err != nil {
		return err
	}
	return d.o.History.Unacknowledge(ctx, id)
}
