package disk

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// findings returns what has crossed a limit, worst first.
func (s smartJSON) findings(h Health, exit int, now time.Time) []Finding {
	all := slices.Concat(s.failing(h, exit), s.nvmeFindings(), s.attributeFindings(h, now), s.selfTestFindings(), h.riseFindings(now), h.wearFindings())
	if trip := s.Temperature.Trip.int(); trip > 0 && trip < 200 && int64(h.Temperature) >= trip {
		all = append(all, Finding{Name: "temperature", Value: int64(h.Temperature), Limit: fmt.Sprintf("below %d °C", trip),
			Text: fmt.Sprintf("the disk is at %d °C, its own limit is %d °C", h.Temperature, trip)})
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		switch {
		case a.Critical == b.Critical:
			return 0
		case a.Critical:
			return -1
		}
		return 1
	})
	return all
}

// failing is the disk's own verdict. Its reasons follow as other findings.
func (s smartJSON) failing(h Health, exit int) []Finding {
	if exit&bitFailing == 0 && (h.Passed == nil || *h.Passed) {
		return nil
	}
	text := "the disk itself expects to fail (SMART overall health: FAILED)"
	if s.NVMe != nil && s.NVMe.Warning.int() != 0 {
		text += ": " + strings.Join(warnings(s.NVMe.Warning.int()), ", ")
	} else if names := s.attributesFailed("now"); len(names) > 0 {
		text += ": " + strings.Join(names, ", ") + " at or below the maker's threshold"
	} else if why := strings.TrimSpace(s.Status.SCSI.Why); why != "" {
		text += ": " + strings.ToLower(why)
	}
	return []Finding{{Name: "smart_status", Value: 1, Limit: "PASSED", Critical: true, Text: text + "; replace it now"}}
}

// tooWarm is the bit of NVMe's critical_warning for a temperature out of its limits.
const tooWarm = 2

// warnings puts the bits of NVMe's critical_warning in words.
func warnings(bits int64) []string {
	var out []string
	for i, words := range []string{"spare blocks below their threshold", "temperature out of its limits", "reliability degraded by media errors",
		"media is read-only", "the backup of its volatile memory failed", "its persistent memory is unreliable"} {
		if bits&(1<<i) != 0 {
			out = append(out, words)
		}
	}
	if bits>>6 != 0 {
		out = append(out, fmt.Sprintf("unknown warning 0x%x", bits>>6<<6))
	}
	return out
}

func (s smartJSON) nvmeFindings() []Finding {
	if s.NVMe == nil {
		return nil
	}
	var out []Finding
	if bits := s.NVMe.Warning.int(); bits > 0 {
		out = append(out, Finding{Name: "critical_warning", Value: bits, Limit: "0", Critical: bits != tooWarm,
			Text: "NVMe critical warning: " + strings.Join(warnings(bits), ", ")})
	}
	if spare, limit := s.NVMe.Spare, s.NVMe.SpareThreshold; spare.known && limit.value > 0 && spare.value < limit.value {
		out = append(out, Finding{Name: "available_spare", Value: spare.int(), Limit: fmt.Sprintf("at least %d %%", limit.int()), Critical: true,
			Text: fmt.Sprintf("%d %% of the spare blocks are left, the maker's threshold is %d %%", spare.int(), limit.int())})
	}
	return out
}

func (s smartJSON) attributesFailed(when string) []string {
	var names []string
	for _, a := range s.Attributes.Table {
		if a.Failed == when && (a.Flags.Prefailure || when != "now") {
			names = append(names, a.Name)
		}
	}
	return names
}

func (s smartJSON) attributeFindings(h Health, now time.Time) []Finding {
	var out []Finding
	for _, a := range s.Attributes.Table {
		if a.Failed == "now" {
			out = append(out, Finding{Name: a.Name, Value: a.Value.int(), Limit: fmt.Sprintf("threshold %d", a.Thresh.int()), Critical: a.Flags.Prefailure,
				Text: fmt.Sprintf("%s is at %d, at or below the maker's threshold %d", a.Name, a.Value.int(), a.Thresh.int())})
		}
		known, ok := a.damage()
		if !ok || a.raw() == 0 {
			continue
		}
		c := h.Counters[known.name]
		if known.permanent || c.rose(now) {
			out = append(out, Finding{Name: known.name, Value: a.raw(), Limit: "0", Text: fmt.Sprintf("%s is %d%s: %s", known.name, a.raw(), c.risen(now), known.means)})
		}
	}
	return out
}

// selfTests are the ways in which a disk's last self-test failed, by the upper half of
// its status. The others are: it passed, was aborted or interrupted, or runs.
var selfTests = map[int64]string{3: "it could not be completed", 4: "a part of the disk failed", 5: "its electrical part failed",
	6: "its heads or their servo failed", 7: "a sector could not be read", 8: "the disk seems to have been damaged by handling"}

// selfTestFindings tells of a self-test that failed: the disk keeps that until the next.
func (s smartJSON) selfTestFindings() []Finding {
	status := s.Data.SelfTest.Status.Value.int()
	why := selfTests[status>>4]
	if why == "" {
		return nil
	}
	return []Finding{{Name: "self_test", Value: status, Limit: "passed", Text: "the disk's last self-test failed: " + why}}
}

// risen tells the former value of a counter that rose.
func (c Counter) risen(now time.Time) string {
	if !c.rose(now) {
		return ""
	}
	return fmt.Sprintf(", up from %d", c.Before)
}

// riseFindings tells of counters that mean something only when they rise.
func (h Health) riseFindings(now time.Time) []Finding {
	var out []Finding
	for _, x := range []struct{ name, text string }{
		{"media_errors", "the disk could not read or write its media"},
		{"uncorrected_errors", "the disk could not read or write sectors"},
		{"scsi_grown_defect_list", "the disk has found more defects"},
		{"error_log", "the disk has logged more errors"},
		{"failed_in_the_past", "an attribute has been below the maker's threshold since"},
	} {
		if c := h.Counters[x.name]; c.rose(now) {
			out = append(out, Finding{Name: x.name, Value: c.Value, Limit: fmt.Sprintf("not above %d", c.Before), Text: fmt.Sprintf("%s: %s is %d%s", x.text, x.name, c.Value, c.risen(now))})
		}
	}
	return out
}

// wearWarning is the share of the rated endurance from which a new disk should
// be bought: writing goes on to work past 100 %, unwarranted.
const wearWarning = 0.80

func (h Health) wearFindings() []Finding {
	if h.Wear < wearWarning {
		return nil
	}
	return []Finding{{Name: "wear", Value: int64(math.Round(h.Wear * 100)), Limit: "below 80 %",
		Text: fmt.Sprintf("%.0f %% of the rated endurance is used, the limit is 80 %%; plan to replace the disk", h.Wear*100)}}
}
