package checks

import (
	"fmt"
	"strings"

	"cairn/internal/backup"
	"cairn/internal/disk"
)

// judgeSmart judges what SMART says, with the reason in words. A disk whose
// table names no SMART device is not judged by it.
func judgeSmart(name string, unit disk.Unit, h disk.Health) (Smart, []Problem) {
	id := "disk." + name
	s := Smart{Status: backup.Unknown, Temperature: h.Temperature, Wear: h.Wear, Read: h.At}
	if h.At.IsZero() {
		s.Temperature, s.Wear = 0, -1
		switch {
		case h.Standby:
			s.Reason = "the disk sleeps"
			return s, nil
		case unit.Smart == nil:
			s.Reason = "not configured"
			return s, nil
		}
		s.Reason = either(sentence(h.Err), "not read yet")
		return s, []Problem{found(backup.Unknown, "smart-unknown", id,
			fmt.Sprintf("SMART of disk %s cannot be read: %s", name, s.Reason),
			"Name the bridge in its table, for example smart = { device = \"/dev/disk/by-id/…\", type = \"sat\" }, and run cairn with CAP_SYS_RAWIO; try: smartctl -d sat -H DEVICE")}
	}
	s.Status = backup.OK
	var out []Problem
	add := func(status backup.Status, code, why, hint string, grade ...string) {
		if status > s.Status {
			s.Status, s.Reason = status, why
		}
		out = append(out, found(status, code, id, why, hint, grade...))
	}
	replace := "Copy what matters off it and replace it; more: smartctl -x DEVICE"
	if h.Err != "" {
		add(backup.Unknown, "smart-unknown", fmt.Sprintf("SMART of disk %s cannot be read: %s", name, sentence(h.Err)), "Try: smartctl -H DEVICE")
	}
	if h.Passed != nil && !*h.Passed {
		add(backup.Critical, "smart-failed", fmt.Sprintf("Disk %s says of itself that it is failing (SMART overall health: failed)%s", name, firstFinding(h)), replace)
	}
	judgeFindings(name, h, add)
	switch {
	case h.Wear >= wearCritical:
		add(backup.Critical, "smart-wear", fmt.Sprintf("Disk %s has used up its rated endurance: %s, the limit is %s", name, percent(h.Wear), percent(wearCritical)), replace)
	case h.Wear >= wearWarning:
		add(backup.Warning, "smart-wear", fmt.Sprintf("Disk %s has used %s of its rated endurance, the limit is %s", name, percent(h.Wear), percent(wearWarning)), "Plan its replacement")
	}
	switch {
	case h.Temperature >= hotCritical:
		add(backup.Critical, "smart-hot", fmt.Sprintf("Disk %s is at %d °C, the limit is %d °C", name, h.Temperature, hotCritical), "Give it air, or stop what writes to it")
	case h.Temperature >= hotWarning:
		add(backup.Warning, "smart-hot", fmt.Sprintf("Disk %s is at %d °C, the limit is %d °C", name, h.Temperature, hotWarning), "Give it air")
	}
	return s, out
}

func firstFinding(h disk.Health) string {
	if len(h.Findings) == 0 {
		return ""
	}
	return ": " + sentence(h.Findings[0].Text)
}

// judgeFindings tells of all values that crossed a limit in one problem.
func judgeFindings(name string, h disk.Health, add func(backup.Status, string, string, string, ...string)) {
	status, texts, grade := backup.Warning, []string{}, []string{}
	for _, f := range h.Findings {
		if f.Name == "wear" || f.Name == "smart_status" && h.Passed != nil && !*h.Passed {
			continue // each is a problem of its own
		}
		if f.Critical {
			status = backup.Critical
		}
		texts = append(texts, either(sentence(f.Text), fmt.Sprintf("%s is %d, the limit is %s", f.Name, f.Value, f.Limit)))
		grade = append(grade, fmt.Sprintf("%s=%d", f.Name, f.Value))
	}
	if len(texts) == 0 {
		return
	}
	add(status, "smart-value", fmt.Sprintf("SMART of disk %s: %s", name, strings.Join(texts[:min(len(texts), namesShown)], "; ")),
		"Values that grow mean a dying disk: copy what matters off it; more: smartctl -x DEVICE", grade...)
}

// smartNote says it in a few words: "SMART ok  34 C  wear 3 %".
func smartNote(s Smart, unit disk.Unit) string {
	parts := []string{"SMART " + s.Status.String()}
	if s.Status == backup.Unknown && unit.Smart == nil {
		parts[0] = "no SMART"
	}
	if s.Temperature > 0 {
		parts = append(parts, fmt.Sprintf("%d C", s.Temperature))
	}
	if s.Wear >= 0 {
		parts = append(parts, "wear "+percent(s.Wear))
	}
	return strings.Join(parts, "  ")
}
