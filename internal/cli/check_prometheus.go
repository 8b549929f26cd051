package cli

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"cairn/checks"
)

// metrics collects samples in the text exposition format, a family at a time
// and without timestamps, as the node exporter's textfile collector wants them:
// it drops a whole file for one series that comes twice.
type metrics struct {
	w    *bufio.Writer
	seen map[string]bool
}

func (m metrics) family(name, help string) {
	fmt.Fprintf(m.w, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name)
}

func (m metrics) sample(name string, value float64, labels ...string) {
	series := name
	for i := 0; i+1 < len(labels); i += 2 {
		open := ","
		if i == 0 {
			open = "{"
		}
		series += fmt.Sprintf(`%s%s="%s"`, open, labels[i], escape(labels[i+1]))
	}
	if len(labels) > 0 {
		series += "}"
	}
	if m.seen[series] {
		return // lists are sorted, the worst first
	}
	m.seen[series] = true
	fmt.Fprintf(m.w, "%s %s\n", series, strconv.FormatFloat(value, 'g', -1, 64))
}

func escape(value string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(value)
}

// writePrometheus writes the report as metrics. A status is 0 ok, 1 warning,
// 2 critical, 3 unknown, as the exit code of check.
func writePrometheus(w io.Writer, r checks.Report) error {
	m := metrics{bufio.NewWriter(w), map[string]bool{}}
	m.family("cairn_status", "Worst status: 0 ok, 1 warning, 2 critical, 3 unknown.")
	m.sample("cairn_status", float64(exitOf(r.Status)))
	m.family("cairn_check_timestamp_seconds", "When the systems were checked.")
	m.sample("cairn_check_timestamp_seconds", unix(r.At))
	m.sources(r)
	m.assets(r)
	m.disks(r)
	m.scenarios(r)
	m.family("cairn_problem_status", "Status of a problem that is not acknowledged.")
	for _, p := range openProblems(r) {
		m.sample("cairn_problem_status", float64(exitOf(p.Status)), "code", p.Code, "subject", p.Subject)
	}
	return m.w.Flush()
}

func (m metrics) sources(r checks.Report) {
	each := func(name, help string, value func(checks.Source) (float64, bool)) {
		m.family(name, help)
		for _, t := range r.Tiers {
			for _, s := range t.Sources {
				if v, ok := value(s); ok {
					m.sample(name, v, "source", s.Name, "tier", strconv.Itoa(int(t.Tier)))
				}
			}
		}
	}
	each("cairn_source_status", "Status of a source: 0 ok, 1 warning, 2 critical, 3 unknown.", func(s checks.Source) (float64, bool) { return float64(exitOf(s.Status)), true })
	each("cairn_source_reachable", "Whether the latest attempt to read the source succeeded.", func(s checks.Source) (float64, bool) { return truth(s.Reachable), true })
	each("cairn_source_copies", "Copies that the source holds.", func(s checks.Source) (float64, bool) { return float64(s.Copies), true })
	each("cairn_source_last_success_timestamp_seconds", "When the newest copy was taken.", func(s checks.Source) (float64, bool) { return unix(s.Newest), !s.Newest.IsZero() })
	each("cairn_source_stalest_timestamp_seconds", "When the newest copy of the stalest asset was taken.", func(s checks.Source) (float64, bool) { return unix(s.Stalest), !s.Stalest.IsZero() })
	each("cairn_source_due_timestamp_seconds", "When the next copy is due.", func(s checks.Source) (float64, bool) { return unix(s.Due), !s.Due.IsZero() })
}

func (m metrics) assets(r checks.Report) {
	each := func(name, help string, value func(checks.Asset) (float64, bool)) {
		m.family(name, help)
		for _, a := range r.Assets {
			if v, ok := value(a); ok && !a.Parked {
				m.sample(name, v, "asset", a.ID.String(), "name", a.Name)
			}
		}
	}
	each("cairn_asset_status", "Status of an asset: 0 ok, 1 warning, 2 critical, 3 unknown.", func(a checks.Asset) (float64, bool) { return float64(exitOf(a.Status)), true })
	each("cairn_asset_copies", "Independent copies, the live one among them.", func(a checks.Asset) (float64, bool) { return float64(a.Copies), true })
	each("cairn_asset_media", "Media that the copies lie on.", func(a checks.Asset) (float64, bool) { return float64(a.Media), true })
	each("cairn_asset_offsite", "Whether an off-site copy is proven.", func(a checks.Asset) (float64, bool) { return truth(a.OffSite), true })
	each("cairn_asset_rpo_seconds", "What would be lost now.", func(a checks.Asset) (float64, bool) {
		if a.RPO == nil {
			return 0, false
		}
		return a.RPO.Seconds(), true
	})
}

func (m metrics) disks(r checks.Report) {
	each := func(name, help string, value func(checks.Disk) (float64, bool)) {
		m.family(name, help)
		for _, d := range r.Disks {
			if v, ok := value(d); ok {
				m.sample(name, v, "disk", d.Name)
			}
		}
	}
	each("cairn_disk_status", "Status of a disk: 0 ok, 1 warning, 2 critical, 3 unknown.", func(d checks.Disk) (float64, bool) { return float64(exitOf(d.Status)), true })
	each("cairn_disk_present", "Whether a configured disk is mounted.", func(d checks.Disk) (float64, bool) { return truth(d.Present), true })
	each("cairn_disk_used_ratio", "How full it is, 0 to 1.", func(d checks.Disk) (float64, bool) { return d.UsedRatio, d.Present })
	each("cairn_disk_full_earliest_timestamp_seconds", "When it may be full at the earliest.", func(d checks.Disk) (float64, bool) {
		return unix(d.FullEarliest), !d.FullEarliest.IsZero()
	})
}

func (m metrics) scenarios(r checks.Report) {
	m.family("cairn_scenario_ready", "Whether there is a way back now.")
	for _, s := range r.Scenarios {
		m.sample("cairn_scenario_ready", truth(s.Ready), "scenario", s.Name, "target", s.Target)
	}
	m.family("cairn_scenario_rto_seconds", "How long the way back is expected to take, where there is one.")
	for _, s := range r.Scenarios {
		if !s.Ready {
			continue
		}
		m.sample("cairn_scenario_rto_seconds", s.RTO.Seconds(), "scenario", s.Name, "target", s.Target, "basis", s.Basis)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func unix(t time.Time) float64 { return float64(t.Unix()) }
