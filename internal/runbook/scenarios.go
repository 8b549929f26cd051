package runbook

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"cairn/internal/operation"
	"cairn/internal/plan"
)

// Scenario is one way in which things go wrong, with its way back. Screens and
// commands are driven by the list of them, and know none by name.
type Scenario struct {
	Name   string // "guest-loss"
	What   string // what has happened, for a person
	Method string // the way back, in a few words
	Asks   Aim    // what its target is
	// Points lists what can be gone back to, newest first, and what could not be
	// looked at; nil: there is nothing to choose.
	Points  func(ctx context.Context, l *Lab, target string) (all []Point, unread []string, err error)
	Options []Option
	Several bool // several targets come back together: Wish.Targets
	// Plan makes the plan, from fresh reads; nil: only the printed runbook leads
	// the way.
	Plan func(ctx context.Context, l *Lab, w Wish) (plan.Plan, error)
	// Next is offered once an operation of the scenario has ended well; nil: that
	// was all.
	Next *Next
}

// Aim is what the target of a scenario is.
type Aim string

// The aims. Each is chosen from what the lab is known to have.
const (
	AtNothing  Aim = ""         // there is one of it: the site, this host
	AtGuest    Aim = "guest"    // "home/101"
	AtDatabase Aim = "database" // "erp/openprod"
	AtPath     Aim = "path"     // "/srv/files"
	AtNode     Aim = "node"     // "home/pve1"
	AtDisk     Aim = "disk"     // "usb"
)

// Point is something that can be gone back to.
type Point struct {
	ID        string // what Wish.Point takes
	Taken     time.Time
	Source    string // where it lies: "pbs-usb", "restic.cloud", "snapshot"
	Size      int64  // bytes; 0: not known
	Proven    string // "verified", "never verified", "restored", …
	Protected bool
	Encrypted bool
	Key       string // which key opens it, by name or fingerprint; empty: not known
	OffSite   bool
	From, To  time.Time // any moment between can be gone back to; zero: it is of one moment, or not known
	Unusable  string    // why it cannot be restored from; empty: it can
	Safety    bool      // cairn made it before it changed something: it holds what was to be left behind
	Note      string    // what somebody wrote about it
}

// PointToBegin is the id of the newest point, of points newest first, that can be
// used and is no safety copy; else of the newest that can be used; empty: there is none.
func PointToBegin(all []Point) string {
	last := ""
	for _, p := range all {
		switch {
		case p.Unusable != "":
		case !p.Safety:
			return p.ID
		case last == "":
			last = p.ID
		}
	}
	return last
}

// Option is something to decide besides the target and the point.
type Option struct {
	Name    string   // key in Wish.Options
	Title   string   // for a person
	Choices []Choice // the first is what is taken where nobody chooses; none: it is typed
	Hint    string   // of what is typed: what an empty answer means
	// Unasked says whether it makes no sense for what is wished; nil: it always does.
	Unasked func(w Wish) bool
}

// Asked are the options that make sense for a wish.
func (s Scenario) Asked(w Wish) []Option {
	return slices.DeleteFunc(slices.Clone(s.Options), func(o Option) bool { return o.Unasked != nil && o.Unasked(w) })
}

// Choice is one answer to an option.
type Choice struct{ Value, Title string }

// Wish is what a person wants of a scenario.
type Wish struct {
	Target  string    // as Scenario.Asks says
	Targets []string  // several at once, of a scenario that takes them; Target and Point are empty then
	Before  time.Time // of several: the newest copies not after this; zero: the newest
	Point   string    // id of a point; empty: the best one
	Options map[string]string
}

// Next is the step that follows an operation: the swap after a restore beside.
type Next struct {
	Title string
	// Plan fails where there is nothing to go on with, such as after a restore in
	// place. After several targets it plans again those that did not come back.
	Plan func(ctx context.Context, l *Lab, s operation.Status) (plan.Plan, error)
}

// Scenarios lists all of them, from the smallest harm to the greatest.
func Scenarios() []Scenario {
	return []Scenario{
		configMistake(), guestLoss(), fileLoss(), databaseMistake(), databaseLoss(),
		hypervisorLoss(), usbLoss(), backupHostLoss(), siteLoss(), ransomware(),
	}
}

// FindScenario finds one by its name.
func FindScenario(name string) (Scenario, error) {
	var names []string
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("there is no scenario %q; there are: %s", name, strings.Join(names, ", "))
}

// Points lists what a scenario can go back to, newest first.
func (l *Lab) Points(ctx context.Context, scenario, target string) ([]Point, []string, error) {
	s, err := FindScenario(scenario)
	if err != nil || s.Points == nil {
		return nil, nil, err
	}
	all, unread, err := s.Points(ctx, l, target)
	slices.SortStableFunc(all, func(a, b Point) int { return b.Taken.Compare(a.Taken) })
	return all, unread, err
}

// PlanScenario makes a scenario's plan, from fresh reads.
func (l *Lab) PlanScenario(ctx context.Context, scenario string, w Wish) (plan.Plan, error) {
	s, err := FindScenario(scenario)
	if err != nil {
		return plan.Plan{}, err
	}
	if s.Plan == nil {
		return plan.Plan{}, fmt.Errorf("%s is walked by the printed runbook: cairn runbook", scenario)
	}
	p, err := s.Plan(ctx, l, w)
	p.Scenario = scenario
	return p, err
}

// PlanNext plans what follows an operation of a scenario.
func (l *Lab) PlanNext(ctx context.Context, s operation.Status) (plan.Plan, error) {
	one, err := FindScenario(s.Record.Plan.Scenario)
	if err != nil {
		return plan.Plan{}, err
	}
	if one.Next == nil {
		return plan.Plan{}, fmt.Errorf("nothing follows operation %s", s.ID())
	}
	return one.Next.Plan(ctx, l, s)
}
