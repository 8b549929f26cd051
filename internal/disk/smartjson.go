package disk

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// number takes any JSON value: a number of any size, one in a string, or
// anything else, which is not known.
type number struct {
	value float64
	known bool
}

// UnmarshalJSON never fails: what is no number is not known.
func (n *number) UnmarshalJSON(text []byte) error {
	*n = number{}
	v, err := strconv.ParseFloat(string(bytes.Trim(text, `" `)), 64)
	if (err == nil || errors.Is(err, strconv.ErrRange)) && !math.IsNaN(v) {
		*n = number{v, true}
	}
	return nil
}

// int returns the value, 0 when it is not known, within ±2⁶².
func (n number) int() int64 { return int64(max(-1<<62, min(n.value, 1<<62))) }

// smartJSON is what `smartctl --json` writes, as far as it matters here.
type smartJSON struct {
	Smartctl *struct {
		Exit     number `json:"exit_status"`
		Messages []struct {
			Text     string `json:"string"`
			Severity string `json:"severity"`
		} `json:"messages"`
	} `json:"smartctl"`
	Device struct {
		Type     string `json:"type"`
		Protocol string `json:"protocol"`
	} `json:"device"`
	Model     string `json:"model_name"`
	Family    string `json:"model_family"` // in smartctl's database of drives
	SCSIModel string `json:"scsi_model_name"`
	Serial    string `json:"serial_number"`
	Support   struct {
		Available *bool `json:"available"`
		Enabled   *bool `json:"enabled"`
	} `json:"smart_support"`
	Status struct {
		Passed *bool `json:"passed"`
		SCSI   struct {
			Why string `json:"ie_string"`
		} `json:"scsi"`
	} `json:"smart_status"`
	Temperature struct {
		Current number `json:"current"`
		Trip    number `json:"drive_trip"`
	} `json:"temperature"`
	PowerOn struct {
		Hours number `json:"hours"`
	} `json:"power_on_time"`
	NVMe       *nvmeLog `json:"nvme_smart_health_information_log"`
	Attributes struct {
		Table []attribute `json:"table"`
	} `json:"ata_smart_attributes"`
	Data struct {
		SelfTest struct {
			Status struct {
				Value number `json:"value"`
			} `json:"status"`
		} `json:"self_test"`
	} `json:"ata_smart_data"`
	Statistics struct {
		Pages []struct {
			Table []struct {
				Name  string `json:"name"`
				Value number `json:"value"`
			} `json:"table"`
		} `json:"pages"`
	} `json:"ata_device_statistics"`
	Endurance struct {
		Percent number `json:"current_percent"`
	} `json:"endurance_used"`
	SCSIEndurance number `json:"scsi_percentage_used_endurance_indicator"`
	SCSIDefects   number `json:"scsi_grown_defect_list"`
	SCSIErrors    map[string]struct {
		Uncorrected number `json:"total_uncorrected_errors"`
	} `json:"scsi_error_counter_log"` // by what was tried: read, write, verify
	ErrorLog struct {
		Summary struct {
			Count number `json:"count"`
		} `json:"summary"`
		Extended struct {
			Count number `json:"count"`
		} `json:"extended"`
	} `json:"ata_smart_error_log"`
}

type nvmeLog struct {
	Warning        number `json:"critical_warning"`
	Spare          number `json:"available_spare"`
	SpareThreshold number `json:"available_spare_threshold"`
	Used           number `json:"percentage_used"`
	MediaErrors    number `json:"media_errors"`
	LogEntries     number `json:"num_err_log_entries"`
	Hours          number `json:"power_on_hours"`
	Temperature    number `json:"temperature"`
}

// blank says that a log was read and holds nothing but zeros. Each disk has spare
// blocks left, or tells of it.
func (n *nvmeLog) blank() bool {
	return n != nil && n.Spare.known && n.Hours.known && n.Spare.value == 0 && n.Hours.value == 0 && n.SpareThreshold.value == 0 && n.Used.value == 0 &&
		n.Warning.value == 0 && n.MediaErrors.value == 0
}

type attribute struct {
	ID     int    `json:"id"`
	Name   string `json:"name"`
	Value  number `json:"value"`
	Worst  number `json:"worst"`
	Thresh number `json:"thresh"`
	Failed string `json:"when_failed"`
	Flags  struct {
		Prefailure bool `json:"prefailure"`
	} `json:"flags"`
	Raw struct {
		Value number `json:"value"`
		Text  string `json:"string"`
	} `json:"raw"`
}

// Bits of smartctl's exit code.
const (
	bitCommandLine = 1 << iota // no data
	bitOpen                    // no data, or standby
	bitCommand                 // one of the disk's commands failed: what it should have read is missing
	bitFailing
	bitPrefailNow
	bitFailedBefore
	bitErrorLog
	bitSelfTest
)

// standbyExit is what `-n standby,3` ends with when the disk sleeps.
const standbyExit = 3

// judgeSmart reads smartctl's JSON and its exit code. Without data it keeps
// what was known and says why there is none.
func judgeSmart(text []byte, exit int, old Health, now time.Time) Health {
	var s smartJSON
	var odd *json.UnmarshalTypeError // one value of another type; all others were read
	if err := json.Unmarshal(text, &s); err != nil && !errors.As(err, &odd) || s.Smartctl == nil {
		old.Err = fmt.Sprintf("smartctl wrote no JSON that can be read (exit code %d)", exit)
		return old
	}
	if exit == 0 && s.Smartctl.Exit.known {
		exit = int(s.Smartctl.Exit.int() & 0xff)
	}
	if exit == standbyExit && s.errors() == "" {
		old.Standby, old.Err = true, ""
		if s.said("SLEEP mode") && old.At.IsZero() {
			old.Standby, old.Err = false, "smartctl says that the disk sleeps, and gives no reason to believe it: it says so of each disk that it cannot ask"
		}
		return old
	}
	if why := s.noData(exit); why != "" {
		old.Err, old.Standby = why, false
		return old
	}
	h := Health{At: now, Model: strings.TrimSpace(cmp.Or(s.Model, s.SCSIModel)), Serial: strings.TrimSpace(s.Serial), Passed: s.Status.Passed, Wear: s.wear()}
	h.Temperature = s.temperature()
	hours := cmp.Or(s.PowerOn.Hours.int(), s.hours())
	h.PowerOn = time.Duration(max(0, min(hours, 1<<20))) * time.Hour
	if s.tooWarmAlone() {
		well := true
		h.Passed, exit = &well, exit&^bitFailing
	}
	s.countErrors(&h, old, exit, now)
	h.Findings = s.findings(h, exit, now)
	return h
}

func (s smartJSON) said(words string) bool {
	for _, m := range s.Smartctl.Messages {
		if strings.Contains(m.Text, words) {
			return true
		}
	}
	return false
}

// errors returns smartctl's messages of errors.
func (s smartJSON) errors() string {
	var all []string
	for _, m := range s.Smartctl.Messages {
		if m.Severity == "error" {
			all = append(all, strings.TrimSpace(m.Text))
		}
	}
	return strings.Join(all, "; ")
}

// noData says why the answer holds no health.
func (s smartJSON) noData(exit int) string {
	why := s.errors()
	switch {
	case exit&(bitCommandLine|bitOpen) != 0:
		return cmp.Or(why, fmt.Sprintf("smartctl gives no reason why it could not ask the disk (exit code %d)", exit))
	case s.Support.Available != nil && !*s.Support.Available:
		return fmt.Sprintf("the disk has no SMART, or its USB bridge passes none on (with -d %s)", cmp.Or(s.Device.Type, "auto"))
	case s.Support.Enabled != nil && !*s.Support.Enabled && s.Device.Protocol == "SCSI":
		return fmt.Sprintf("SMART is said to be switched off, which a USB bridge that passes nothing of the disk says of itself (with -d %s)", cmp.Or(s.Device.Type, "auto"))
	case s.Support.Enabled != nil && !*s.Support.Enabled:
		return "SMART is switched off in the disk; smartctl -s on turns it on"
	case s.NVMe == nil && len(s.Attributes.Table) == 0 && s.Status.Passed == nil && !s.Endurance.Percent.known && !s.SCSIEndurance.known:
		return cmp.Or(why, "smartctl read no health of the disk")
	case exit&bitCommand != 0 && s.ata() && len(s.Attributes.Table) == 0 && (s.Status.Passed == nil || *s.Status.Passed):
		return cmp.Or(why, fmt.Sprintf("the disk's attributes could not be read (exit code %d), and its verdict alone says little: its USB bridge may garble them", exit))
	case s.NVMe.blank() && s.temperature() <= 0:
		return fmt.Sprintf("the health log is all zeros (with -d %s), which no NVMe disk's is: its USB bridge does not pass it on", cmp.Or(s.Device.Type, "auto"))
	case s.bridgeAlone():
		return fmt.Sprintf("the only answer (with -d %s) is a status without any value behind it, which a USB bridge gives by itself: it passes nothing of the disk", cmp.Or(s.Device.Type, "auto"))
	}
	return ""
}

// ata says whether the disk was asked as an ATA disk: "ATA+SCSI" is one behind SAT.
func (s smartJSON) ata() bool { return strings.HasPrefix(s.Device.Protocol, "ATA") }

// bridgeAlone says that a SCSI device calls itself well and tells nothing else,
// not even its temperature: NVMe bridges do so for the disk that they hide.
func (s smartJSON) bridgeAlone() bool {
	return s.Device.Protocol == "SCSI" && s.NVMe == nil && len(s.Attributes.Table) == 0 && s.Status.Passed != nil && *s.Status.Passed &&
		s.wear() < 0 && s.temperature() == 0 && !s.SCSIDefects.known && len(s.SCSIErrors) == 0 && !s.PowerOn.Hours.known
}

// tooWarmAlone says that the temperature is all that the disk warns of: smartctl
// calls every warning of NVMe a failed verdict, and this one ends when it cools down.
func (s smartJSON) tooWarmAlone() bool { return s.NVMe != nil && s.NVMe.Warning.value == tooWarm }

// temperature is in °C; 0: not known, which bridges report too.
func (s smartJSON) temperature() int {
	t := s.Temperature.Current.int()
	if t == 0 && s.NVMe != nil {
		t = s.NVMe.Temperature.int()
	}
	if t < -60 || t > 200 {
		return 0
	}
	return int(t)
}

func (s smartJSON) hours() int64 {
	if s.NVMe == nil {
		return 0
	}
	return s.NVMe.Hours.int()
}

// remaining are the attributes whose normalised value counts the life that is
// left, from 100 down, by the name that smartctl's database gives: the same id
// means other things on other models.
var remaining = []string{"SSD_Life_Left", "SSD_Life_Left_Perc", "Media_Wearout_Indicator", "Percent_Lifetime_Remain", "Percent_Life_Remaining", "Percent_Lifetime_Used",
	"Remaining_Lifetime_Perc", "Lifetime_Remaining%", "Lifetime_Remaining", "Lifetime_Left", "Perc_Rated_Life_Remain", "Perc_Rated_Life_Used", "PCT_Life_Remaining",
	"Remaining_Life", "Drive_Life_Remaining%", "DriveLife_Remaining%", "Wear_Leveling_Count", "Ave_Block-Erase_Count", "Avg_Block-Erase_Count"}

// wear returns the share of the rated endurance that is used, from the best
// source that the disk has; -1: none.
func (s smartJSON) wear() float64 {
	if s.NVMe != nil && s.NVMe.Used.known {
		return percent(s.NVMe.Used)
	}
	if s.Endurance.Percent.known && !s.guessesEndurance() {
		return percent(s.Endurance.Percent)
	}
	if s.SCSIEndurance.known {
		return percent(s.SCSIEndurance)
	}
	for _, page := range s.Statistics.Pages {
		for _, v := range page.Table {
			if v.Name == "Percentage Used Endurance Indicator" && v.Value.known {
				return percent(v.Value)
			}
		}
	}
	for _, name := range remaining {
		for _, a := range s.Attributes.Table {
			if used := a.used(); a.Name == name && used >= 0 && (name != wornOfIntel || a.ID == wornOfWD || s.intel()) {
				return used
			}
		}
	}
	return -1
}

// guessesEndurance says whether smartctl takes the endurance from an attribute's
// normalised value, as it does since 7.4 where it reads no statistics: also from one
// that stays at 100 for good or counts from 200, of which it makes 0 %.
func (s smartJSON) guessesEndurance() bool {
	return len(s.Statistics.Pages) == 0 && slices.ContainsFunc(s.Attributes.Table, func(a attribute) bool {
		return strings.HasPrefix(a.Name, "SSD_Life_Left") || strings.HasPrefix(a.Name, "Wear_Leveling")
	})
}

// used returns the share of the endurance that one of the remaining attributes
// tells; -1: none.
func (a attribute) used() float64 {
	switch {
	case a.ID == wornOfWD:
		// Its normalised value counts up on some firmware and down on others. Each
		// 16 bits of the raw one are a percentage in whole and hundredths, the lowest
		// the worst of them.
		worst := a.Raw.Value.int() & 0xffff
		if whole := worst >> 8; a.Raw.Value.known && whole <= 100 {
			return float64(whole)/100 + float64(worst&0xff)/1e4
		}
		return -1
	case a.Name == wornOfIntel && a.Value.value == 0:
		return -1 // it ends at 1: who writes 0 does not count
	case a.Value.known && a.Value.value >= 0 && a.Value.value <= 100:
		left := a.Value.value
		if a.Name == leftOfSMI && a.Raw.Value.value >= 1 {
			left = min(left, a.Raw.Value.value)
		}
		return (100 - left) / 100
	}
	return -1
}

const (
	leftOfSMI   = "Remaining_Lifetime_Perc" // in the raw value too; some of Silicon Motion's controllers leave the normalised one at 100 for good
	wornOfWD    = 230                       // of WD's and SanDisk's SSDs
	wornOfIntel = "Media_Wearout_Indicator" // id 233; smartctl names it so on each SSD that its database does not know, whatever it counts there
)

// intel says whether Intel made the disk, or who took its SSDs over.
func (s smartJSON) intel() bool {
	words := strings.ToLower(s.Family + " " + s.Model)
	return strings.Contains(words, "intel") || strings.Contains(words, "solidigm")
}

func percent(n number) float64 { return max(0, min(n.value, 1000)) / 100 }

// damage is a kind of ATA attribute that counts damage.
type damage struct {
	name      string
	permanent bool // others warn only when they rise: a bad cable times out too
	means     string
	words     []string // one of them is in its name, in lower case: some makers count other things under the same id
}

var counted = map[int]damage{
	5:   {"Reallocated_Sector_Ct", true, "sectors were replaced by spare ones", []string{"realloc", "retired", "bad_b"}},
	10:  {"Spin_Retry_Count", true, "the motor needed more than one try to start", []string{"spin"}},
	187: {"Reported_Uncorrect", true, "reads could not be corrected", []string{"unc", "_ue_"}},
	188: {"Command_Timeout", false, "commands timed out: the cable, the bridge or the disk", []string{"timeout"}},
	197: {"Current_Pending_Sector", true, "sectors cannot be read at the moment", []string{"pending", "unc"}},
	198: {"Offline_Uncorrectable", true, "sectors cannot be read", []string{"unc"}},
	199: {"UDMA_CRC_Error_Count", false, "transfers were garbled: the cable, the port or the bridge", []string{"crc"}},
}

// damage returns what the attribute counts; not ok: no damage. What smartctl's
// database marks as bogus counts nothing: a firmware lets it flip at random.
func (a attribute) damage() (d damage, ok bool) {
	d, ok = counted[a.ID]
	if name := strings.ToLower(a.Name); name != "" {
		ok = ok && !strings.Contains(name, "bogus") && slices.ContainsFunc(d.words, func(w string) bool { return strings.Contains(name, w) })
	}
	return d, ok && a.Raw.Value.known
}

// raw returns the count in an attribute's raw value. Several makers put other
// counters into its upper bits: smartctl then writes the count first, and the
// others after it: "8 (2 0)", "12/345678". Three in a row are three of 16 bits,
// of which the lowest counts them all.
func (a attribute) raw() int64 {
	first := strings.FieldsFunc(a.Raw.Text, func(r rune) bool { return r == ' ' || r == '(' || r == '/' })
	if len(first) > 1 && strings.ContainsAny(a.Raw.Text, "(/") {
		if n, err := strconv.ParseInt(first[0], 10, 64); err == nil {
			return max(0, n)
		}
	}
	v := a.Raw.Value.int()
	if v > math.MaxUint32 || v > math.MaxUint16 && a.ID == 188 {
		v &= 0xffff
	}
	return max(0, v)
}

func (s smartJSON) countErrors(h *Health, old Health, exit int, now time.Time) {
	for _, a := range s.Attributes.Table {
		if known, ok := a.damage(); ok {
			h.count(old, known.name, a.raw(), now)
		}
	}
	if s.NVMe != nil && s.NVMe.MediaErrors.known {
		h.count(old, "media_errors", s.NVMe.MediaErrors.int(), now)
	}
	if s.SCSIDefects.known {
		h.count(old, "scsi_grown_defect_list", s.SCSIDefects.int(), now)
	}
	if len(s.SCSIErrors) > 0 {
		var sum int64
		for _, tried := range s.SCSIErrors {
			sum += max(0, min(tried.Uncorrected.int(), 1<<32))
		}
		h.count(old, "uncorrected_errors", sum, now)
	}
	if n := max(s.ErrorLog.Summary.Count.int(), s.ErrorLog.Extended.Count.int()); n > 0 || exit&bitErrorLog != 0 {
		h.count(old, "error_log", max(n, 1), now)
	} else if s.ata() {
		h.count(old, "error_log", 0, now)
	}
	h.count(old, "failed_in_the_past", int64(min(1, exit&bitFailedBefore)), now)
}
