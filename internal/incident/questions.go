package incident

import "strings"

const dontKnow = "I don't know"

func yesNo() []Choice {
	return []Choice{{Value: No, Title: "no"}, {Value: Yes, Title: "yes"}, {Value: Unsure, Title: dontKnow}}
}

func worse(state) Question {
	return Question{Topic: Worse, Ask: "Is data still changing for the worse right now?",
		Why: "If it is, stopping it comes before any restore.", Choices: yesNo()}
}

func signs(s state) Question {
	q := Question{Topic: Signs, Ask: "Do you see renamed or unreadable files in many places, unknown logins, deleted snapshots or backups?",
		Why: "An attacker looks for the copies too; then only a copy counts that this host cannot delete.", Choices: yesNo()}
	for _, sign := range s.found.Signs {
		q.Seen = append(q.Seen, Look{Subject: "suspicious", Seen: Silent, Text: sign})
	}
	return q
}

func since(state) Question {
	return Question{Topic: Since, Ask: "Since when?", Why: "What is restored must be from before.", Choices: []Choice{
		{Value: Hour, Title: "less than an hour"}, {Value: Day, Title: "today: less than a day"}, {Value: Days, Title: "some days"}, {Value: Longer, Title: "a week or longer"}, {Value: Unsure, Title: dontKnow}}}
}

// gone is asked where something does not answer: only a person can tell a machine
// that is lost from one that is unplugged.
func gone(s state) Question {
	f := s.found
	return Question{Topic: Gone, Ask: "What is gone for good: broken, burnt, stolen?", Why: "What is only unplugged or switched off needs no restore: make it answer again.",
		Seen: append(append(append([]Look{}, f.Hypervisors...), f.Disks...), f.BackupHost...),
		Choices: []Choice{
			{Value: Nothing, Title: "nothing: it is only off or unplugged"},
			{Value: Hypervisor, Title: "a hypervisor", Seen: tell(f.Hypervisors)},
			{Value: TheDisk, Title: "the disk with the copies", Seen: tell(f.Disks)},
			{Value: BackupHost, Title: "the backup host; its disk is left", Seen: tell(f.BackupHost)},
			{Value: Site, Title: "all of it: the site"},
			{Value: Unsure, Title: dontKnow},
		}}
}

// tell says in a few words what was looked up.
func tell(looks []Look) string {
	switch quiet := silent(looks); {
	case len(looks) == 0:
		return ""
	case len(quiet) > 0:
		return "looked: no answer from " + strings.Join(quiet, ", ")
	case sure(looks):
		return "looked: answers"
	}
	return "looked: not known"
}

func about(s state) Question {
	return Question{Topic: About, Ask: "What is wrong?", Why: "Each has its own shortest way back.", Seen: s.found.Databases, Choices: []Choice{
		{Value: OneGuest, Title: "one guest"}, {Value: ManyGuests, Title: "many guests"}, {Value: OneDatabase, Title: "a database", Seen: tell(s.found.Databases)},
		{Value: Files, Title: "files or directories of this host"}, {Value: Unsure, Title: dontKnow}}}
}

func guest(state) Question {
	return Question{Topic: Guest, Ask: "What happened to the guest?", Why: "A snapshot undoes a change at a known time; a backup also brings back what is gone.", Choices: []Choice{
		{Value: Mistake, Title: "it is there: an update or a change went wrong, and I know when"}, {Value: Lost, Title: "it is gone, or its disk is ruined"}, {Value: Unsure, Title: dontKnow}}}
}

func database(s state) Question {
	return Question{Topic: Database, Ask: "Is the database wrong, or gone?", Why: "What is wrong may still hold what was written since: it is not thrown away.", Seen: s.found.Databases, Choices: []Choice{
		{Value: Mistake, Title: "wrong data: a mistake, and its server runs"}, {Value: Lost, Title: "gone, or its server is dead"}, {Value: Unsure, Title: dontKnow}}}
}
