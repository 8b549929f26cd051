package guest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/step"
	"cairn/proxmox"
)

// File is a file that a person wants out of a guest's backup.
type File struct {
	Guest Guest
	At    time.Time // the newest backup not after this; zero: the newest that can be used
	From  string    // storage of the backup; empty: any
	Path  string    // in the backup, from the archive on
	To    string    // directory of this host
}

type fileArgs struct {
	Cluster string               `json:"cluster"`
	Point   proxmox.RestorePoint `json:"point"`
	Path    string               `json:"path"`
	To      string               `json:"to"` // file of this host
}

// chosenPoint is the backup that a file is looked for in.
func (b *Runbook) chosenPoint(ctx context.Context, r File) (proxmox.RestorePoint, error) {
	points, missing, err := b.Points(ctx, r.Guest)
	if err != nil {
		return proxmox.RestorePoint{}, err
	}
	query := Restore{Guest: r.Guest, At: r.At, From: r.From}
	point, _, ok := Choose(points, query)
	if !ok || point.InFlight {
		none := noPoint(query, points, missing)
		return point, fmt.Errorf("%s: %s; %s", none.Subject, none.Why, none.Hint)
	}
	if !point.PBS {
		return point, fmt.Errorf("the backup of %s lies on %s, which is no PBS: single files of it cannot be read; restore the guest beside: cairn restore guest-loss %s", nameOf(r.Guest), point.Storage, r.Guest.Name)
	}
	return point, nil
}

// Files lists a directory inside a guest's backup, and which backup it is.
func (b *Runbook) Files(ctx context.Context, r File) ([]proxmox.BackupFile, proxmox.RestorePoint, error) {
	point, err := b.chosenPoint(ctx, r)
	if err != nil {
		return nil, point, err
	}
	c, err := b.Cluster(r.Guest.Cluster)
	if err != nil {
		return nil, point, err
	}
	files, err := c.BackupFiles(ctx, point, r.Path)
	return files, point, err
}

// RestoreFile plans to read one file out of a guest's backup into a directory of
// this host. Neither the guest nor what lies in the directory is touched.
func (b *Runbook) RestoreFile(ctx context.Context, r File) (plan.Plan, error) {
	r.Path = path.Clean("/" + r.Path)
	p := plan.Plan{Operation: "restore", Target: r.Guest.ID().String(), Confirm: r.Guest.Name, Created: b.now(),
		Summary: fmt.Sprintf("Read %s out of a backup of %s", r.Path, nameOf(r.Guest))}
	block := func(why, hint string) {
		p.Blockers = append(p.Blockers, plan.Blocker{Subject: r.Path, Why: why, Hint: hint})
	}
	files, point, err := b.Files(ctx, File{Guest: r.Guest, At: r.At, From: r.From, Path: path.Dir(r.Path)})
	if err != nil {
		block(err.Error(), "cairn restore file-loss --guest "+r.Guest.Name+" --list / shows what is there")
		return p, nil
	}
	p.Fingerprint, p.Loss = point.Volume, "nothing now; the file is as it was: "+point.Loss(b.now())
	p.LosesSince = point.Taken
	var one *proxmox.BackupFile
	for i := range files {
		if files[i].Path == r.Path {
			one = &files[i]
		}
	}
	a := fileArgs{Cluster: r.Guest.Cluster, Point: point, Path: r.Path, To: filepath.Join(r.To, path.Base(r.Path))}
	switch {
	case one == nil:
		block("it is not in the backup of "+point.Taken.UTC().Format("2006-01-02 15:04 UTC"), "choose another backup with --at, or look with --list")
		return p, nil
	case one.Kind != "f":
		a.To += ".zip" // so the node packs a directory
	}
	if _, err := os.Lstat(a.To); !errors.Is(err, os.ErrNotExist) {
		block(a.To+" is there already", "choose another directory with --target")
	}
	p.WayBack = "remove " + a.To
	show := fmt.Sprintf("GET /nodes/%s/storage/%s/file-restore/download volume=%s filepath=%s → %s", point.Node, point.Storage, point.Volume, r.Path, a.To)
	b.steps.Add(&p, kindFetchFile, "read it to "+a.To, show, a, one.Size)
	p.Estimate = step.Total(p.Steps)
	return p, nil
}

// fileStep writes beside and renames, so that a file is whole or not there.
type fileStep struct{ room *Runbook }

func (x *fileStep) Run(ctx context.Context, s plan.Step, task *operation.Task) (r operation.Result, err error) {
	a, err := step.Args[fileArgs](s)
	if err != nil {
		return r, err
	}
	c, err := x.room.Cluster(a.Cluster)
	if err != nil {
		return r, err
	}
	if err := os.MkdirAll(filepath.Dir(a.To), 0o700); err != nil {
		return r, fmt.Errorf("making the directory: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(a.To), ".cairn-"+task.Operation+"-*")
	if err != nil {
		return r, fmt.Errorf("making the file: %w", err)
	}
	sum := sha256.New()
	n, err := c.DownloadFile(ctx, a.Point, a.Path, io.MultiWriter(f, sum))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), a.To) // unlike a rename it replaces nothing
	}
	if err = errors.Join(err, os.Remove(f.Name())); err != nil {
		return r, err
	}
	return operation.Result{Text: fmt.Sprintf("%s, %d bytes, sha256 %s", a.To, n, hex.EncodeToString(sum.Sum(nil))), Bytes: n, Medium: a.Point.Storage}, nil
}

func (x *fileStep) Find(_ context.Context, s plan.Step, _ operation.Intent, _ *operation.Task) (operation.Outcome, error) {
	a, err := step.Args[fileArgs](s)
	if err != nil {
		return operation.Outcome{}, err
	}
	if _, err := os.Lstat(a.To); err == nil {
		return operation.Outcome{State: operation.Done, Result: operation.Result{Text: a.To + " is there, whole"}}, nil
	}
	return operation.Outcome{State: operation.NotDone}, nil
}
