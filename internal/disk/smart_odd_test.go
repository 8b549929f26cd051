package disk

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nvme is smartctl's answer of an NVMe disk with this critical warning.
func nvme(warning int) []byte {
	return fmt.Appendf(nil, `{"smartctl":{"exit_status":%d},"device":{"type":"sntrealtek","protocol":"NVMe"},"model_name":"X","smart_support":{"available":true,"enabled":true},
		"smart_status":{"passed":%t,"nvme":{"value":%d}},"temperature":{"current":66},
		"nvme_smart_health_information_log":{"critical_warning":%[3]d,"temperature":66,"available_spare":100,"available_spare_threshold":10,"percentage_used":1,"media_errors":0}}`,
		map[bool]int{true: 8}[warning != 0], warning == 0, warning)
}

// smartctl calls a disk failed of which any warning is set, also where it is only
// too warm at the moment: that is no reason to replace it.
func TestTooWarmIsNotFailing(t *testing.T) {
	for warning, passed := range map[int]bool{0: true, 2: true, 1: false, 3: false, 4: false, 6: false, 8: false} {
		h := judgeSmart(nvme(warning), map[bool]int{true: 8}[warning != 0], Health{}, noon)
		if h.Err != "" || h.Passed == nil || *h.Passed != passed {
			t.Fatalf("warning %d: %+v", warning, h)
		}
		if critical := len(h.Findings) > 0 && h.Findings[0].Critical; critical == passed || (len(h.Findings) > 0) != (warning != 0) {
			t.Errorf("warning %d: %+v", warning, h.Findings)
		}
		if warning == 2 && !strings.Contains(h.Findings[0].Text, "temperature") {
			t.Errorf("it does not say why: %+v", h.Findings)
		}
	}
}

// The disk keeps how its last self-test ended.
func TestSelfTest(t *testing.T) {
	for status, want := range map[int]string{0: "", 16: "", 25: "", 33: "", 57: "could not be completed", 73: "a part of the disk", 89: "electrical", 105: "heads",
		121: "a sector could not be read", 137: "handling", 241: "", 249: "", -1: ""} {
		h := judgeSmart(ata(fmt.Sprintf(`,"ata_smart_data":{"self_test":{"status":{"value":%d,"string":"completed"}}}`, status), attr(5, "Reallocated_Sector_Ct", 100, 10, "", "0")), 0, Health{}, noon)
		switch {
		case want == "" && len(h.Findings) > 0:
			t.Errorf("status %d: %+v", status, h.Findings)
		case want != "" && (len(h.Findings) != 1 || !strings.Contains(h.Findings[0].Text, want) || h.Findings[0].Critical):
			t.Errorf("status %d: %+v, want %q", status, h.Findings, want)
		}
	}
}

// Bit 2: one of the commands failed. It matters where what it should have read is all
// that there is to judge by.
func TestCommandThatFailed(t *testing.T) {
	known := judgeSmart(ata("", attr(5, "Reallocated_Sector_Ct", 98, 10, "", "12")), 0, Health{}, noon.Add(-time.Hour))
	h := judgeSmart(ata(""), 4, known, noon)
	if !strings.Contains(h.Err, "attributes could not be read (exit code 4)") || !h.At.Equal(known.At) || h.Counters["Reallocated_Sector_Ct"].Value != 12 {
		t.Errorf("a verdict without any value: %+v", h)
	}
	both := strings.Replace(string(ata("")), `"protocol":"ATA"`, `"protocol":"ATA+SCSI"`, 1)
	if h := judgeSmart([]byte(both), 4, known, noon); h.Err == "" {
		t.Errorf("so it is behind SAT: %+v", h)
	}
	failed := strings.Replace(string(ata("")), `"passed":true`, `"passed":false`, 1)
	if h := judgeSmart([]byte(failed), 12, known, noon); h.Err != "" || len(h.Findings) == 0 || !h.Findings[0].Critical {
		t.Errorf("a failure is never doubted: %+v", h)
	}
	if h := judgeSmart(ata(""), 0, known, noon); h.Err != "" {
		t.Errorf("a disk that has no attributes: %+v", h)
	}
	for name, text := range map[string][]byte{
		"a page of a SAS disk's log": []byte(`{"smartctl":{"exit_status":4},"device":{"protocol":"SCSI"},"scsi_model_name":"X","smart_status":{"passed":true},"temperature":{"current":33},"scsi_grown_defect_list":0}`),
		"the log of errors of NVMe":  nvme(0),
		"the registers, by a bridge": ata("", attr(5, "Reallocated_Sector_Ct", 100, 10, "", "0")),
	} {
		if h := judgeSmart(text, 4, Health{}, noon); h.Err != "" || len(h.Findings) != 0 {
			t.Errorf("%s could not be read, which is no trouble: %+v", name, h)
		}
	}
}

func TestReasonOfASCSIDisk(t *testing.T) {
	h := judgeSmart([]byte(`{"smartctl":{"exit_status":8},"device":{"type":"scsi","protocol":"SCSI"},"scsi_model_name":"X","smart_support":{"available":true,"enabled":true},
		"smart_status":{"passed":false,"scsi":{"asc":93,"ascq":16,"ie_string":"HARDWARE IMPENDING FAILURE GENERAL HARD DRIVE FAILURE"}},"temperature":{"current":40}}`), 8, Health{}, noon)
	if h.Err != "" || len(h.Findings) != 1 || !h.Findings[0].Critical || !strings.Contains(h.Findings[0].Text, "impending failure") {
		t.Errorf("it does not say why: %q %+v", h.Err, h.Findings)
	}
	h = judgeSmart([]byte(`{"smartctl":{"exit_status":0},"device":{"type":"scsi","protocol":"SCSI"},"scsi_model_name":"Maker X10","smart_support":{"available":true,"enabled":false},"temperature":{"current":0}}`), 0, Health{}, noon)
	if !strings.Contains(h.Err, "USB bridge") || strings.Contains(h.Err, "smartctl -s on") {
		t.Errorf("a bridge cannot switch SMART on: %q", h.Err)
	}
	if hint := smartHint(h.Err, "/dev/null", Unit{Smart: &Smart{Type: "scsi"}}); !strings.Contains(hint, "try sat") {
		t.Errorf("the hint is %q", hint)
	}
}

// Since 7.4 smartctl fills endurance_used from an attribute, whatever that counts.
func TestEnduranceThatSmartctlGuessed(t *testing.T) {
	guess := `,"endurance_used":{"current_percent":0}`
	for name, x := range map[string]struct {
		text []byte
		want float64
	}{
		"Apple counts from 200":           {ata(guess, attr(173, "Wear_Leveling_Count", 195, 100, "", "8599765028")), -1},
		"Silicon Motion, which stays 100": {ata(guess, attr(169, "Remaining_Lifetime_Perc", 100, 0, "", "71"), attr(177, "Wear_Leveling_Count", 100, 0, "", "0")), 0.29},
		"Kingston":                        {ata(`,"endurance_used":{"current_percent":5}`, attr(231, "SSD_Life_Left", 95, 0, "", "95")), 0.05},
		"by statistics": {ata(`,"endurance_used":{"current_percent":40},"ata_device_statistics":{"pages":[{"table":[{"name":"Percentage Used Endurance Indicator","value":40}]}]}`,
			attr(177, "Wear_Leveling_Count", 100, 0, "", "0")), 0.4},
		"from nothing that we know": {ata(`,"endurance_used":{"current_percent":12}`, attr(5, "Reallocated_Sector_Ct", 100, 10, "", "0")), 0.12},
	} {
		if h := judgeSmart(x.text, 0, Health{}, noon); h.Err != "" || h.Wear < x.want-1e-9 || h.Wear > x.want+1e-9 {
			t.Errorf("%s: wear %v (%s), want %v", name, h.Wear, h.Err, x.want)
		}
	}
}

// Some SSDs and bridges say that they sleep at all times: a disk that has just taken
// a write does not, and is asked all the same before what is known gets old.
func TestDiskThatAlwaysSaysItSleeps(t *testing.T) {
	path, err := filepath.Abs("testdata/nvme_ok.json")
	if err != nil {
		t.Fatal(err)
	}
	calls := fakeSmartctl(t, `case "$*" in *standby*) echo '{"smartctl":{"messages":[{"string":"Device is in STANDBY mode, exit(3)","severity":"information"}],"exit_status":3}}'; exit 3;; esac; cat `+path)
	ask := func(c *Client, awake bool) Health { return c.askSmart(t.Context(), "a", device{})(awake) }
	if h := ask(smartClient(t, "/dev/null", "sat"), false); !h.Standby || !h.At.IsZero() || len(calls()) != 1 {
		t.Errorf("nothing shows that it is awake: %+v, calls %q", h, calls())
	}
	c := smartClient(t, "/dev/null", "sat")
	if h := ask(c, true); h.Standby || h.Err != "" || !h.At.Equal(noon) || len(calls()) != 3 || strings.Contains(calls()[2], "standby") {
		t.Fatalf("it has just taken a write: %+v, calls %q", h, calls())
	}
	c.now = func() time.Time { return noon.Add(time.Hour) }
	if h := ask(c, true); !h.Standby || !h.At.Equal(noon) || len(calls()) != 4 {
		t.Errorf("what is known is young: %+v, calls %q", h, calls())
	}
	c.now = func() time.Time { return noon.Add(asleepFor + time.Hour) }
	if h := ask(c, true); h.Standby || !h.At.Equal(c.now()) || len(calls()) != 6 {
		t.Errorf("what is known is old: %+v, calls %q", h, calls())
	}
}
