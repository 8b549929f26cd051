package cli

import (
	"time"

	"cairn/internal/operation"
	"cairn/internal/plan"
	"cairn/internal/runbook/pvestep"
)

type estimateJSON struct {
	Median float64 `json:"median_seconds"`
	P90    float64 `json:"p90_seconds"`
	Basis  string  `json:"basis"`
	Runs   int     `json:"runs"`
}

func estimateOf(e plan.Estimate) estimateJSON {
	return estimateJSON{e.Median.Seconds(), e.P90.Seconds(), e.Basis(), e.Measured}
}

type stepJSON struct {
	ID           string       `json:"id"`
	Kind         string       `json:"kind"`
	Title        string       `json:"title"`
	Show         string       `json:"show"`
	Commands     []string     `json:"commands"` // that a person types; none: cairn does it
	Irreversible bool         `json:"irreversible"`
	Estimate     estimateJSON `json:"estimate"`
}

// planJSON is a plan as --plan --format json prints it.
type planJSON struct {
	Schema      int            `json:"schema_version"`
	Hash        string         `json:"hash"` // empty: of a part
	Operation   string         `json:"operation"`
	Target      string         `json:"target"`
	Confirm     string         `json:"confirm"`
	Summary     string         `json:"summary"`
	Created     *time.Time     `json:"created_at"`
	Fingerprint string         `json:"fingerprint"`
	Loss        string         `json:"loss"`
	LosesSince  *time.Time     `json:"loses_since"` // what was written after it is not in what comes back
	WayBack     string         `json:"way_back"`
	Steps       []stepJSON     `json:"steps"`
	Parts       []planJSON     `json:"parts"` // plans that one of the steps begins, each as an operation of its own
	Blockers    []plan.Blocker `json:"blockers"`
	Notes       []string       `json:"notes"`
	Estimate    estimateJSON   `json:"estimate"`
}

func planOf(p plan.Plan, hash string) planJSON {
	return planJSON{
		Schema: schemaVersion, Hash: hash, Operation: p.Operation, Target: p.Target, Confirm: p.Confirm, Summary: p.Summary, Created: moment(p.Created),
		Fingerprint: p.Fingerprint, Loss: p.Loss, LosesSince: exactly(p.LosesSince), WayBack: p.WayBack, Estimate: estimateOf(p.Estimate), Blockers: each(p.Blockers, same), Notes: each(p.Notes, same),
		Parts: each(p.Parts, func(part plan.Plan) planJSON { return planOf(part, "") }),
		Steps: each(p.Steps, func(s plan.Step) stepJSON {
			return stepJSON{s.ID, s.Kind, s.Title, s.Show, each(s.Commands, same), s.Irreversible, estimateOf(s.Estimate)}
		}),
	}
}

func same[T any](v T) T { return v }

type doneJSON struct {
	ID           string          `json:"id"`
	Title        string          `json:"title"`
	State        operation.State `json:"state"`
	Text         string          `json:"text"`
	Remote       string          `json:"remote"` // the server's name for its task
	Irreversible bool            `json:"irreversible"`
	Started      *time.Time      `json:"started_at"`
	Ended        *time.Time      `json:"ended_at"`
}

type progressJSON struct {
	Step  string     `json:"step"`
	Done  int64      `json:"done"`
	Total int64      `json:"total"`
	Unit  string     `json:"unit"`
	Left  float64    `json:"left_seconds"`
	Lines []string   `json:"lines"`
	At    *time.Time `json:"at"`
}

type cancelJSON struct {
	By operation.Actor `json:"by"`
	At *time.Time      `json:"at"`
}

// operationJSON is an operation as operation list and show print it.
type operationJSON struct {
	Schema    int             `json:"schema_version"`
	ID        string          `json:"id"`
	State     operation.State `json:"state"`
	Text      string          `json:"text"`
	Resumable bool            `json:"resumable"`
	By        operation.Actor `json:"by"`
	Created   *time.Time      `json:"created_at"`
	Started   *time.Time      `json:"started_at"`
	Ended     *time.Time      `json:"ended_at"`
	Plan      planJSON        `json:"plan"`
	Steps     []doneJSON      `json:"steps"`
	Progress  *progressJSON   `json:"progress"`
	Cancel    *cancelJSON     `json:"cancel"`
}

func operationOf(s operation.Status) operationJSON {
	out := operationJSON{
		Schema: schemaVersion, ID: s.ID(), State: s.State, Text: s.Text, Resumable: s.Resumable, By: s.Record.By, Created: moment(s.Record.At),
		Started: moment(s.Started), Ended: moment(s.Ended), Plan: planOf(s.Record.Plan, s.Record.Hash), Steps: []doneJSON{},
	}
	for i, step := range s.Steps {
		of := s.Record.Plan.Steps[i]
		out.Steps = append(out.Steps, doneJSON{step.ID, of.Title, step.State, step.Text, pvestep.RemoteTask(step.Remote), of.Irreversible, moment(step.Started), moment(step.Ended)})
	}
	if p := s.Progress; p != nil {
		out.Progress = &progressJSON{p.Step, p.Done, p.Total, p.Unit, p.Left.Seconds(), each(p.Lines, same), moment(p.At)}
	}
	if c := s.Cancel; c != nil {
		out.Cancel = &cancelJSON{c.By, moment(c.At)}
	}
	return out
}
