package runbook

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/byhand"
	"cairn/internal/runbook/eject"
	"cairn/internal/runbook/repository"
	"cairn/internal/runbook/siteloss"
	"cairn/restic"
)

func usbLoss() Scenario {
	return Scenario{
		Name: "usb-loss", What: "The disk with the copies is gone", Method: "a new disk, the datastore from the cloud copy, seeded again", Asks: AtDisk,
		Plan: func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) {
			if w.Target == "" {
				var err error
				if w.Target, err = only("disk", l.config.Disks); err != nil {
					return plan.Plan{}, err
				}
			}
			return l.OffSite.RestoreDisk(ctx, w.Target)
		},
		Next: &Next{Title: "back up to it", Plan: func(ctx context.Context, l *Lab, s operation.Status) (plan.Plan, error) {
			name := strings.TrimPrefix(s.Record.Plan.Target, eject.Target)
			for _, one := range slices.Sorted(maps.Keys(l.config.Restic)) {
				if c := l.config.Restic[one]; c.Disk == name && c.RunBy == nil {
					return l.Repositories.Backup(ctx, repository.BackupRequest{Name: one})
				}
			}
			return plan.Plan{}, fmt.Errorf("no restic repository lies on disk %s", name)
		}},
	}
}

func siteLoss() Scenario {
	return Scenario{
		Name: "site-loss", What: "Everything at home is gone", Method: "from the off-site copy, guest by guest",
		Points: func(ctx context.Context, l *Lab, _ string) ([]Point, []string, error) { return l.offSitePoints(ctx) },
		Options: []Option{
			{Name: "targets", Title: "Targets", Hint: "guests, NAME/DATABASE, paths, with spaces between; empty: everything"},
			{Name: "dir", Title: "Directory", Hint: "empty: " + byhand.Rescue},
		},
		Plan: func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) {
			r, err := l.offSiteWish(ctx, w)
			if err != nil {
				return plan.Plan{}, err
			}
			return l.OffSite.Restore(ctx, r)
		},
	}
}

func ransomware() Scenario {
	return Scenario{
		Name: "ransomware", What: "Somebody encrypts or deletes, copies too", Method: "a point before it, isolated, from the copy that cannot be deleted from here",
		Options: []Option{
			{Name: "at", Title: "Since", Hint: "when it began, rather earlier: 2026-11-21 18:00"},
			{Name: "targets", Title: "Targets", Hint: "guests, NAME/DATABASE, paths, with spaces between; empty: everything"},
			{Name: "from", Title: "From", Choices: []Choice{{"", "the off-site copy"}, {"protected", "a protected backup on the backup server, of one guest"}}},
			{Name: "dir", Title: "Directory", Hint: "empty: one of its own, which only root enters"},
		},
		Plan: func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error) {
			r, err := l.offSiteWish(ctx, w)
			if err != nil {
				return plan.Plan{}, err
			}
			if text := w.Options["at"]; text != "" {
				if r.Infected, err = since(text); err != nil {
					return plan.Plan{}, err
				}
			}
			r.Protected = w.Options["from"] == "protected"
			return l.Ransomware(ctx, r)
		},
	}
}

// since reads when something began: of a day, its beginning.
func since(text string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2026-11-21 or \"2026-11-21 18:00\"", text)
}

// offSiteWish is what a person wants of the off-site copy.
func (l *Lab) offSiteWish(ctx context.Context, w Wish) (siteloss.Restore, error) {
	r := siteloss.Restore{Targets: strings.Fields(w.Options["targets"]), Dir: w.Options["dir"]}
	if w.Target != "" {
		r.Targets = append([]string{w.Target}, r.Targets...)
	}
	if w.Point == "" {
		return r, nil
	}
	all, _, err := l.offSitePoints(ctx)
	if err != nil {
		return r, err
	}
	for _, p := range all {
		if p.ID == w.Point {
			r.From, r.At = p.Source, p.Taken
			return r, nil
		}
	}
	return r, fmt.Errorf("there is no snapshot %s any more: choose another", w.Point)
}

// offSitePoints are the snapshots of the off-site repositories.
func (l *Lab) offSitePoints(ctx context.Context) (out []Point, unread []string, err error) {
	for _, name := range slices.Sorted(maps.Keys(l.config.Restic)) {
		if !l.config.Restic[name].OffSite() {
			continue
		}
		facts, err := l.Repositories.Survey(ctx, name)
		if err != nil {
			unread = append(unread, restic.Source(name)+": "+err.Error())
			continue
		}
		for _, s := range facts.Snapshots {
			p := Point{ID: name + "/" + s.ID, Taken: s.Time, Source: restic.Source(name), Proven: "exists", Encrypted: true, Key: "password of " + restic.Source(name), OffSite: true, Note: strings.Join(s.Tags, " ")}
			if s.Summary != nil {
				p.Size = s.Summary.Bytes
			}
			out = append(out, p)
		}
	}
	return out, unread, nil
}
