package incident

import (
	"strings"
	"time"
)

// Topic is what a question is about.
type Topic string

// The topics, in the order in which they are asked.
const (
	Worse    Topic = "worse" // is it still getting worse?
	Signs    Topic = "signs" // does it look like an attack?
	Since    Topic = "since"
	Gone     Topic = "gone"  // what of the machines is gone for good
	About    Topic = "about" // what is wrong
	Guest    Topic = "guest" // how
	Database Topic = "database"
)

// The answers. Each question also knows Unsure.
const (
	Unsure = "unsure"
	Yes    = "yes"
	No     = "no"

	OneGuest, ManyGuests, Files, OneDatabase       = "guest", "guests", "files", "database"
	Nothing, Hypervisor, TheDisk, BackupHost, Site = "nothing", "hypervisor", "disk", "backup-host", "site"
	Mistake, Lost                                  = "mistake", "lost"
	Hour, Day, Days, Longer                        = "hour", "day", "days", "longer"
)

// Said is what a person said, by topic.
type Said map[Topic]string

// Choice is one answer to a question.
type Choice struct {
	Value string
	Title string
	Seen  string // what was looked up about it; empty: nothing
}

// Question is what only a person can tell, or what looking up left open.
type Question struct {
	Topic   Topic
	Ask     string
	Why     string // why it matters
	Choices []Choice
	Seen    []Look // what was looked up for it
}

// Way is a scenario with the reason for it.
type Way struct {
	Scenario string
	Why      string
}

// Advice is where the walk ends.
type Advice struct {
	First []string // what to do before anything else, because it keeps harm from growing
	Way
	Next []Way // the next best, best first
}

// state is what a row of the walk looks at.
type state struct {
	said  Said
	found Found
}

func (s state) is(t Topic, values ...string) bool {
	for _, v := range values {
		if s.said[t] == v {
			return true
		}
	}
	return false
}

// row is one line of the walk: where it applies, it asks, or it ends the walk.
type row struct {
	when func(state) bool
	ask  func(state) Question // nil: it ends
	end  func(state) Advice
}

// Next reads the walk from the top: the first question that applies and has no
// answer yet, or the advice. One of the two is nil.
func Next(f Found, said Said) (*Question, *Advice) {
	s := state{said, f}
	for _, r := range walk() {
		if r.when != nil && !r.when(s) {
			continue
		}
		if r.ask == nil {
			a := r.end(s)
			a.First = append(precautions(s), a.First...)
			return nil, &a
		}
		if q := r.ask(s); said[q.Topic] == "" {
			return &q, nil
		}
	}
	panic("the walk's last row applies always") // a test walks every path
}

// walk is how a person who knows this lab well would think, from the top down. A
// question is asked once; the first end that applies is the advice.
func walk() []row {
	is := func(t Topic, values ...string) func(state) bool {
		return func(s state) bool { return s.is(t, values...) }
	}
	return []row{
		// What makes things worse comes first.
		{ask: worse},
		{ask: signs},
		{ask: since},
		{when: is(Signs, Yes), end: to("ransomware", "what you see looks like somebody's work: every copy that this host can reach may be ruined too, so the one that it cannot delete counts",
			Way{"site-loss", "if nothing at home can be trusted any more"}, Way{"guest-loss", "if it turns out to be one guest alone: beside it, unplugged"})},
		{when: both(is(Worse, Yes), is(Signs, Unsure)), end: to("ransomware", "data is changing for the worse and nobody knows why: treat it as an attack until you know that it is none",
			Way{"guest-loss", "if one guest does it to itself: beside it, unplugged"}, Way{"database-mistake", "if a program writes wrong data into one database"})},

		// Then what is broken: it is looked up, and only asked where something does not answer.
		{when: silentSomewhere, ask: gone},
		{when: is(Gone, Site), end: to("site-loss", "what is at home is gone: what is off-site comes back, by priority",
			Way{"hypervisor-loss", "if the disk with the copies can be saved"}, Way{"ransomware", "if it was set on purpose"})},
		{when: is(Gone, Hypervisor), end: to("hypervisor-loss", "the copies are there, and the machine for the guests is not",
			Way{"guest-loss", "if another node can take the guests: one by one"}, Way{"site-loss", "if the disk with the copies is gone too"})},
		{when: is(Gone, BackupHost), end: to("backup-host-loss", "the guests run on; the disk with the copies moves to a new host",
			Way{"usb-loss", "if the disk is gone too"}, Way{"file-loss", "if only files of this host are gone"})},
		{when: is(Gone, TheDisk), end: to("usb-loss", "what runs is untouched; without that disk there is no local copy: a new one first",
			Way{"backup-host-loss", "if the host went with it"}, Way{"site-loss", "if what runs is gone too"})},

		// Then what of the data is wrong.
		{ask: about},
		{when: is(About, ManyGuests), end: to("guest-loss", "the hypervisor is not lost, so the guests come back beside themselves, the most important first: name several at once",
			Way{"hypervisor-loss", "if what they have in common is a node or its storage"}, Way{"ransomware", "if you cannot say what they have in common"})},
		{when: is(About, OneGuest), ask: guest},
		{when: both(is(Guest, Mistake), is(Since, Hour, Day, Days)), end: to("config-mistake", "it is one guest, and you know when: a snapshot from before is the shortest way, and keeps a way back itself",
			Way{"guest-loss", "if there is no snapshot from before: its backup, beside it"}, Way{"file-loss", "if it is a few files: they come back alone"})},
		{when: is(About, OneGuest), end: to("guest-loss", "its newest proven backup comes back beside it; nothing of what is there is touched until you say so",
			Way{"config-mistake", "if there is a snapshot from before it went wrong"}, Way{"file-loss", "if it is a few files"})},
		{when: is(About, OneDatabase), ask: database},
		{when: either(is(Database, Lost), both(is(Database, Unsure), deadServer)), end: to("database-loss", "there is nothing to spare: base backup and WAL, or the newest dump, under its own name; what there is of it is kept",
			Way{"database-mistake", "if the server runs after all: beside it"}, Way{"guest-loss", "if the whole machine of the database is gone"})},
		{when: is(About, OneDatabase), end: to("database-mistake", "it comes back beside the live one, to the moment before it went wrong; you compare, and then swap",
			Way{"database-loss", "if nothing of it is worth keeping"}, Way{"guest-loss", "if the database lives in a guest that is backed up whole"})},
		{when: is(About, Files), end: to("file-loss", "the files come back beside what is there, every byte compared; then they are exchanged",
			Way{"backup-host-loss", "if the whole host is gone"}, Way{"guest-loss", "if the files lie in a guest"})},
		{end: to("guest-loss", "you do not know what is wrong, and a restore beside touches nothing: it is the safest way to find out",
			Way{"config-mistake", "if you find that it was a change, and there is a snapshot from before"}, Way{"ransomware", "if you find that somebody did it"}, Way{"database-mistake", "if the data of one database is wrong"})},
	}
}

func both(a, b func(state) bool) func(state) bool {
	return func(s state) bool { return a(s) && b(s) }
}

func either(a, b func(state) bool) func(state) bool {
	return func(s state) bool { return a(s) || b(s) }
}

// deadServer says that no configured database server answers.
func deadServer(s state) bool {
	quiet := silent(s.found.Databases)
	return len(quiet) > 0 && len(quiet) == len(s.found.Databases)
}

func to(scenario, why string, next ...Way) func(state) Advice {
	return func(state) Advice { return Advice{Way: Way{scenario, why}, Next: next} }
}

// silentSomewhere says that something does not answer, or that whether it does is
// not known: then a person is asked.
func silentSomewhere(s state) bool {
	return !sure(s.found.Hypervisors) || !sure(s.found.Disks) || !sure(s.found.BackupHost)
}

// precautions are what keeps harm from growing, before any way back.
func precautions(s state) []string {
	var out []string
	attack := s.is(Signs, Yes) || s.is(Worse, Yes) && s.is(Signs, Unsure)
	switch {
	case attack:
		out = append(out, "Isolate: unplug the network of what does it, and of what holds copies. Do not switch machines off that you may want to look at.",
			"Change no password from a machine that may be watched.")
	case s.is(Worse, Yes):
		out = append(out, "Stop what does it: the program, or the guest's network. Every minute costs data.")
	}
	if s.found.Open {
		out = append(out, "The incident is open: cairn forgets, prunes and copies nothing.")
	} else {
		out = append(out, "Open the incident: while it is open, cairn forgets, prunes and copies nothing.")
	}
	if len(s.found.Jobs) > 0 {
		out = append(out, "Hold what goes on by itself (cairn incident hold): "+strings.Join(s.found.Jobs, ", ")+". Stop the timers of other tools that forget or prune.")
	} else {
		out = append(out, "Stop what else goes on by itself: timers of other tools that prune, forget or sync.")
	}
	if len(s.found.Standbys) > 0 && (attack || s.is(About, OneDatabase)) {
		out = append(out, "Do not promote "+strings.Join(s.found.Standbys, ", ")+" before you have looked: a standby copies a mistake within a second.")
	}
	return out
}

// Before is how long ago a mistake or an attack began at the most, as a person said:
// what is younger may hold the harm already. 0: nobody knows, or what is restored
// was lost and not ruined, so that its newest copy is whole.
func Before(said Said) time.Duration {
	if said[Guest] == Lost || said[Database] == Lost || said[Gone] != "" && said[Gone] != Nothing && said[Gone] != Unsure {
		return 0
	}
	switch said[Since] {
	case Hour:
		return time.Hour
	case Day:
		return 24 * time.Hour
	case Days:
		return 7 * 24 * time.Hour
	case Longer:
		return 30 * 24 * time.Hour
	}
	return 0
}
