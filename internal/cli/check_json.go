package cli

import (
	"encoding/json"
	"io"
	"time"

	"cairn/checks"
	"cairn/internal/backup"
)

// schemaVersion rises when a field of the JSON changes its meaning. New fields
// do not raise it.
const schemaVersion = 1

type reportJSON struct {
	SchemaVersion int            `json:"schema_version"`
	GeneratedAt   time.Time      `json:"generated_at"`
	Status        backup.Status  `json:"status"`
	Problems      []problemJSON  `json:"problems"`
	Tiers         []tierJSON     `json:"tiers"`
	Assets        []assetJSON    `json:"assets"`
	Disks         []diskJSON     `json:"disks"`
	Scenarios     []scenarioJSON `json:"scenarios"`
	Warnings      []string       `json:"warnings"`
}

type problemJSON struct {
	ID           string        `json:"id"`
	Code         string        `json:"code"`
	Subject      string        `json:"subject"`
	Status       backup.Status `json:"status"`
	Summary      string        `json:"summary"`
	Hint         string        `json:"hint"`
	Since        *time.Time    `json:"since"`
	Acknowledged bool          `json:"acknowledged"`
}

type tierJSON struct {
	Tier    int           `json:"tier"`
	Name    string        `json:"name"`
	Status  backup.Status `json:"status"`
	Sources []sourceJSON  `json:"sources"`
}

type sourceJSON struct {
	Name      string          `json:"name"`
	Kind      string          `json:"kind"`
	Status    backup.Status   `json:"status"`
	Reachable bool            `json:"reachable"`
	Error     *string         `json:"error"`
	Surveyed  *time.Time      `json:"surveyed_at"`
	Newest    *time.Time      `json:"newest"`
	Stalest   *time.Time      `json:"stalest"`
	Age       *int64          `json:"age_seconds"`
	Due       *time.Time      `json:"due_at"`
	Every     *int64          `json:"every_seconds"`
	Copies    int             `json:"copies"`
	Running   bool            `json:"running"`
	LastRun   *runJSON        `json:"last_run"`
	Retention []retentionJSON `json:"retention"`
	Note      string          `json:"note"`
}

type runJSON struct {
	Started time.Time     `json:"started"`
	Seconds int64         `json:"seconds"`
	Status  backup.Status `json:"status"`
	Text    string        `json:"text"`
}

type retentionJSON struct {
	Unit   string   `json:"unit"`
	Kept   int      `json:"kept"`
	Wanted int      `json:"wanted"`
	Gaps   []string `json:"gaps"`
}

type assetJSON struct {
	ID      string        `json:"id"`
	Name    string        `json:"name"`
	Kind    string        `json:"kind"`
	Status  backup.Status `json:"status"`
	Copies  int           `json:"copies"`
	Media   int           `json:"media"`
	OffSite bool          `json:"offsite"`
	RPO     *int64        `json:"rpo_seconds"`
	Parked  bool          `json:"parked"`
	Held    []heldJSON    `json:"copies_held"`
}

type heldJSON struct {
	Tier     int           `json:"tier"`
	Source   string        `json:"source"`
	ID       string        `json:"id"`
	Taken    *time.Time    `json:"taken_at"`
	Medium   string        `json:"medium"`
	Site     string        `json:"site"`
	Proof    backup.Proof  `json:"proof"`
	ProvedAt *time.Time    `json:"proved_at"`
	Compared string        `json:"compared"`
	Status   backup.Status `json:"status"`
	Count    int           `json:"count"`
}

type diskJSON struct {
	Name         string        `json:"name"`
	Status       backup.Status `json:"status"`
	Mount        string        `json:"mount"`
	Unit         string        `json:"unit"`
	Present      bool          `json:"present"`
	Writable     bool          `json:"writable"`
	UsedRatio    float64       `json:"used_ratio"`
	FullEarliest *time.Time    `json:"full_earliest"`
	FullLatest   *time.Time    `json:"full_latest"`
	Smart        smartJSON     `json:"smart"`
}

type smartJSON struct {
	Status      backup.Status `json:"status"`
	Reason      string        `json:"reason"`
	Temperature *int          `json:"temperature_celsius"`
	Wear        *float64      `json:"wear_ratio"`
	Read        *time.Time    `json:"read_at"`
}

type scenarioJSON struct {
	Name     string   `json:"name"`
	Target   string   `json:"target"`
	Method   string   `json:"method"`
	Ready    bool     `json:"ready"`
	Blockers []string `json:"blockers"`
	RPO      *int64   `json:"rpo_seconds"`
	RTO      int64    `json:"rto_seconds"`
	RTOP90   int64    `json:"rto_p90_seconds"`
	Basis    string   `json:"basis"`
	Runs     int      `json:"runs"`
	Goal     *int64   `json:"rto_target_seconds"` // null: no limit is configured
}

// writeJSON writes the report as the documented JSON.
func writeJSON(w io.Writer, r checks.Report, warnings []string) error {
	out := reportJSON{
		SchemaVersion: schemaVersion, GeneratedAt: r.At.UTC().Truncate(time.Second), Status: r.Status,
		Problems: each(r.Problems, problemOf), Assets: each(r.Assets, assetOf), Disks: each(r.Disks, diskOf), Scenarios: each(r.EveryScenario(), scenarioOf),
		Tiers: each(r.Tiers, func(t checks.Tier) tierJSON {
			return tierJSON{int(t.Tier), t.Name, t.Status, each(t.Sources, func(s checks.Source) sourceJSON { return sourceOf(s, r.At) })}
		}),
		Warnings: each(warnings, func(text string) string { return text }),
	}
	return printJSON(w, out)
}

func printJSON(w io.Writer, value any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// each never returns nil: an empty list is [] in JSON, not null.
func each[A, B any](all []A, one func(A) B) []B {
	out := make([]B, 0, len(all))
	for _, a := range all {
		out = append(out, one(a))
	}
	return out
}

func problemOf(p checks.Problem) problemJSON {
	return problemJSON{p.ID, p.Code, p.Subject, p.Status, p.Summary, p.Hint, moment(p.Since), p.Acknowledged}
}

func sourceOf(s checks.Source, now time.Time) sourceJSON {
	out := sourceJSON{
		Name: s.Name, Kind: s.Kind, Status: s.Status, Reachable: s.Reachable, Surveyed: moment(s.Surveyed), Newest: moment(s.Newest),
		Stalest: moment(s.Stalest), Due: moment(s.Due), Copies: s.Copies, Running: s.Running, Note: s.Note,
		Retention: each(s.Retention, func(r checks.Retention) retentionJSON {
			return retentionJSON{r.Unit, r.Kept, r.Wanted, each(r.Gaps, func(g string) string { return g })}
		}),
	}
	if s.Error != "" {
		out.Error = &s.Error
	}
	if age, ok := s.Age(now); ok {
		out.Age = seconds(age)
	}
	if s.Every > 0 {
		out.Every = seconds(s.Every)
	}
	if s.LastRun != nil {
		out.LastRun = &runJSON{s.LastRun.Started.UTC(), *seconds(s.LastRun.Duration), s.LastRun.Status, s.LastRun.Text}
	}
	return out
}

func assetOf(a checks.Asset) assetJSON {
	return assetJSON{
		ID: a.ID.String(), Name: a.Name, Kind: string(a.ID.Kind), Status: a.Status, Copies: a.Copies, Media: a.Media, OffSite: a.OffSite,
		RPO: span(a.RPO), Parked: a.Parked, Held: each(a.Held, heldOf),
	}
}

func heldOf(h checks.Held) heldJSON {
	return heldJSON{int(h.Tier), h.Source, h.ID, moment(h.Taken), h.Medium, h.Site, h.Proof, moment(h.ProvedAt), h.How, h.Status, h.Count}
}

func diskOf(d checks.Disk) diskJSON {
	s := smartJSON{Status: d.Smart.Status, Reason: d.Smart.Reason, Read: moment(d.Smart.Read)}
	if d.Smart.Temperature != 0 {
		s.Temperature = &d.Smart.Temperature
	}
	if d.Smart.Wear >= 0 && !d.Smart.Read.IsZero() {
		s.Wear = &d.Smart.Wear
	}
	return diskJSON{d.Name, d.Status, d.Mount, d.Unit, d.Present, d.Writable, d.UsedRatio, moment(d.FullEarliest), moment(d.FullLatest), s}
}

func scenarioOf(s checks.Scenario) scenarioJSON {
	return scenarioJSON{
		s.Name, s.Target, s.Method, s.Ready, each(s.Blockers, func(b string) string { return b }),
		span(s.RPO), *seconds(s.RTO), *seconds(s.RTOP90), s.Basis, s.Runs, goalOf(s),
	}
}

func goalOf(s checks.Scenario) *int64 {
	if s.Goal <= 0 {
		return nil
	}
	return seconds(s.Goal)
}

// moment is t in UTC to the second; nil for the zero time.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Second)
	return &t
}

// exactly is a moment that something is compared with: what was written before and
// after it may lie within one second.
func exactly(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func seconds(d time.Duration) *int64 {
	s := int64(d / time.Second)
	return &s
}

func span(d *time.Duration) *int64 {
	if d == nil {
		return nil
	}
	return seconds(*d)
}
