package disk

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cairn/internal/testkit"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// judged judges a recording with the exit code that it carries.
func judged(t *testing.T, name string, old Health) Health {
	t.Helper()
	text := recorded(t, name)
	var s struct {
		Smartctl struct {
			Exit int `json:"exit_status"`
		} `json:"smartctl"`
	}
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return judgeSmart(text, s.Smartctl.Exit, old, noon)
}

func TestRecordedSmart(t *testing.T) {
	for name, want := range map[string]string{ // the reason why there is no data, "" for data
		"ata_xall_exit4.json":                                 "",
		"nvme_ok.json":                                        "",
		"nvme_critical_warning4_exit8.json":                   "",
		"device_unplugged_nodev.json":                         "No such device",
		"enodev.json":                                         "No such device",
		"group_disk_no_cap_sys_rawio.json":                    "no reason",
		"permission_denied_nvme.json":                         "Permission denied",
		"permission_denied_sat.json":                          "Permission denied",
		"permission_denied_usb_masked_as_unknown_bridge.json": "Unknown USB bridge",
		"usb_d_sat_no_identify.json":                          "no reason",
		"usb_d_scsi_no_smart_temp0.json":                      "passes none on (with -d scsi)",
		"usb_unknown_bridge_needs_d.json":                     "Unknown USB bridge",
		"usb_wrong_snt_type.json":                             "unsupported scsi opcode",
		"usb_wrong_usbjmicron.json":                           "unsupported scsi opcode",
	} {
		h := judged(t, name, Health{Wear: -1})
		if (h.Err == "") != (want == "") || !strings.Contains(h.Err, want) {
			t.Errorf("%s: %q, want %q", name, h.Err, want)
		}
		if h.Err != "" && (!h.At.IsZero() || h.Passed != nil || h.Temperature != 0 || h.Standby || h.Wear != -1 || len(h.Findings) != 0) {
			t.Errorf("%s gives no data, but %+v", name, h)
		}
	}
	h := judged(t, "nvme_critical_warning4_exit8.json", Health{})
	if h.Passed == nil || *h.Passed || len(h.Findings) != 2 || !h.Findings[0].Critical || !strings.Contains(h.Findings[0].Text, "reliability degraded") || h.Findings[1].Limit != "0" {
		t.Errorf("got %+v", h)
	}
	h = judged(t, "nvme_ok.json", Health{})
	if h.Wear != 0 || h.Temperature != 50 || len(h.Findings) != 0 || h.Model != "QEMU NVMe Ctrl" || h.Serial != "NVMESER003" || !h.At.Equal(noon) || !*h.Passed {
		t.Errorf("got %+v", h)
	}
	h = judged(t, "ata_xall_exit4.json", Health{}) // bit 2: one of its commands failed, which is no failure of the disk
	if h.Wear != -1 || h.Temperature != 31 || len(h.Findings) != 0 || h.PowerOn != time.Hour || h.Counters["Reallocated_Sector_Ct"].Value != 0 {
		t.Errorf("got %+v", h)
	}
}

// ata is smartctl's answer of a SATA disk with these attributes and more.
func ata(more string, attributes ...string) []byte {
	return fmt.Appendf(nil, `{"smartctl":{"version":[7,3],"exit_status":0},"device":{"type":"sat","protocol":"ATA"},"model_name":"X","serial_number":"S","smart_support":{"available":true,"enabled":true},
		"smart_status":{"passed":true},"ata_smart_attributes":{"table":[%s]}%s}`, strings.Join(attributes, ","), more)
}

func attr(id int, name string, value, thresh int, failed, raw string) string {
	return fmt.Sprintf(`{"id":%d,"name":%q,"value":%d,"worst":%d,"thresh":%d,"when_failed":%q,"flags":{"prefailure":true},"raw":{"value":%s,"string":"x"}}`, id, name, value, value, thresh, failed, raw)
}

func TestSmartFindings(t *testing.T) {
	for name, x := range map[string]struct {
		text     []byte
		exit     int
		finding  string // "" for none
		critical bool
		words    string
	}{
		"healthy":             {ata("", attr(5, "Reallocated_Sector_Ct", 100, 10, "", "0")), 0, "", false, ""},
		"reallocated":         {ata("", attr(5, "Reallocated_Sector_Ct", 98, 10, "", "12")), 0, "Reallocated_Sector_Ct", false, "is 12"},
		"pending as a string": {ata("", attr(197, "Current_Pending_Sector", 98, 0, "", `"8"`)), 0, "Current_Pending_Sector", false, "is 8"},
		"packed raw":          {ata("", attr(187, "Reported_Uncorrect", 98, 0, "", "4295032833")), 0, "Reported_Uncorrect", false, "is 1:"},
		"timeouts alone":      {ata("", attr(188, "Command_Timeout", 100, 0, "", "3")), 0, "", false, ""},
		"below its threshold": {ata("", attr(3, "Spin_Up_Time", 20, 21, "now", "0")), 16, "Spin_Up_Time", true, "threshold 21"},
		"failed before":       {ata("", attr(190, "Airflow_Temperature_Cel", 60, 45, "past", "40")), 32, "", false, ""},
		"failing":             {ata("", attr(5, "Reallocated_Sector_Ct", 5, 10, "now", "0")), 24, "smart_status", true, "Reallocated_Sector_Ct"},
		"error log of old":    {ata(`,"ata_smart_error_log":{"summary":{"count":7}}`), 64, "", false, ""},
		"worn by statistics":  {ata(`,"ata_device_statistics":{"pages":[null,{"table":[{"name":"Percentage Used Endurance Indicator","value":93}]}]}`), 0, "wear", false, "93 %"},
		"endurance used":      {ata(`,"endurance_used":{"current_percent":112}`), 0, "wear", false, "112 %"},
		"worn by attribute":   {ata("", attr(231, "SSD_Life_Left", 15, 0, "", "15")), 0, "wear", false, "85 %"},
		"hot":                 {ata(`,"temperature":{"current":71,"drive_trip":70}`), 0, "temperature", false, "71 °C"},
		"spare gone": {[]byte(`{"smartctl":{},"nvme_smart_health_information_log":{"critical_warning":1,"available_spare":4,"available_spare_threshold":10,"percentage_used":255,"media_errors":18446744073709551616}}`),
			0, "critical_warning", true, "spare blocks"},
		"too warm": {[]byte(`{"smartctl":{},"nvme_smart_health_information_log":{"critical_warning":2}}`), 0, "critical_warning", false, "temperature"},
	} {
		t.Run(name, func(t *testing.T) {
			h := judgeSmart(x.text, x.exit, Health{Wear: -1}, noon)
			if h.Err != "" {
				t.Fatal(h.Err)
			}
			if x.finding == "" {
				if len(h.Findings) != 0 {
					t.Errorf("got %+v", h.Findings)
				}
				return
			}
			if len(h.Findings) == 0 || h.Findings[0].Name != x.finding || h.Findings[0].Critical != x.critical || !strings.Contains(h.Findings[0].Text, x.words) || h.Findings[0].Limit == "" {
				t.Errorf("got %+v", h.Findings)
			}
		})
	}
}

func TestWearComesFromTheBestSource(t *testing.T) {
	all := `"endurance_used":{"current_percent":20},"ata_device_statistics":{"pages":[{"table":[{"name":"Percentage Used Endurance Indicator","value":30}]}]},"ata_smart_attributes":{"table":[{"id":231,"name":"SSD_Life_Left","value":60}]},"smart_status":{"passed":true}`
	for text, want := range map[string]float64{
		`{"smartctl":{},"nvme_smart_health_information_log":{"percentage_used":110},` + all + `}`: 1.1,
		`{"smartctl":{},` + all + `}`:                                            0.2,
		`{"smartctl":{},` + strings.Replace(all, "endurance_used", "x", 1) + `}`: 0.3,
		`{"smartctl":{},` + strings.Replace(strings.Replace(all, "endurance_used", "x", 1), "Percentage Used", "x", 1) + `}`:                    0.4,
		`{"smartctl":{},"smart_status":{"passed":true},"scsi_percentage_used_endurance_indicator":7}`:                                           0.07,
		`{"smartctl":{},"smart_status":{"passed":true},"ata_smart_attributes":{"table":[{"id":177,"name":"Wear_Leveling_Count","value":200}]}}`: -1,
		`{"smartctl":{},"nvme_smart_health_information_log":{"available_spare":100}}`:                                                           -1,
	} {
		if h := judgeSmart([]byte(text), 0, Health{}, noon); h.Err != "" || h.Wear != want {
			t.Errorf("wear %v (%s), want %v of %s", h.Wear, h.Err, want, text)
		}
	}
}

// Real disks' attributes, as smartctl's database names them: the direction of
// the normalised value is the maker's own.
func TestWearByAttribute(t *testing.T) {
	plain := func(id int, name string, value int, raw string) string { return attr(id, name, value, 0, "", raw) }
	for name, c := range map[string]struct {
		attributes []string
		want       float64
	}{
		"Samsung 870 EVO":                       {[]string{plain(177, "Wear_Leveling_Count", 99, "3")}, 0.01},
		"Crucial MX500":                         {[]string{plain(173, "Ave_Block-Erase_Count", 94, "94"), plain(202, "Percent_Lifetime_Remain", 94, "6")}, 0.06},
		"Kingston A400":                         {[]string{plain(231, "SSD_Life_Left", 95, "95"), plain(233, "Flash_Writes_GiB", 100, "900")}, 0.05},
		"Intel, worn out":                       {[]string{plain(233, "Media_Wearout_Indicator", 1, "0")}, 0.99},
		"SandForce does not count it":           {[]string{plain(233, "Media_Wearout_Indicator", 0, "3012"), plain(231, "SSD_Life_Left", 100, "1")}, 0},
		"smartctl does not know the disk":       {[]string{plain(233, "Media_Wearout_Indicator", 3, "3"), plain(177, "Wear_Leveling_Count", 98, "41")}, 0.02},
		"Silicon Motion, whose value stays 100": {[]string{plain(169, "Remaining_Lifetime_Perc", 100, "71"), plain(177, "Wear_Leveling_Count", 100, "0")}, 0.29},
		"Silicon Motion, worn out":              {[]string{plain(169, "Remaining_Lifetime_Perc", 0, "0")}, 1},
		"JMicron":                               {[]string{plain(169, "Remaining_Lifetime_Perc", 95, "95")}, 0.05},
		"SATADOM":                               {[]string{plain(231, "Lifetime_Left", 77, "77")}, 0.23},
		"CloudSpeed":                            {[]string{plain(245, "Drive_Life_Remaining%", 64, "64")}, 0.36},
		"SandForce counts nothing":              {[]string{plain(233, "Media_Wearout_Indicator", 0, "3012")}, -1},
		"WD Blue, whose value counts up":        {[]string{plain(230, "Media_Wearout_Indicator", 1, "163210068006")}, 0.0038},     // 0x002600140026
		"SanDisk Plus, whose value is 100":      {[]string{plain(230, "Media_Wearout_Indicator", 100, "51832253853476")}, 0.4736}, // 0x2f2423142f24
		"WD Green, of which 37.06 % are used":   {[]string{plain(230, "Media_Wearout_Indicator", 37, "40707920766214")}, 0.3706},  // 0x25060d282506
		"WD with a raw value of another kind":   {[]string{plain(230, "Media_Wearout_Indicator", 3, "65535")}, -1},
		"Apple counts from 200":                 {[]string{plain(173, "Wear_Leveling_Count", 195, "8599765028")}, -1},
		"spare blocks are no wear":              {[]string{plain(232, "Available_Reservd_Space", 100, "0"), plain(241, "Total_LBAs_Written", 99, "1")}, -1},
	} {
		more := ""
		if strings.HasPrefix(name, "Intel") {
			more = `,"model_family":"Intel 545s Series SSDs"`
		}
		h := judgeSmart(ata(more, c.attributes...), 0, Health{}, noon)
		if h.Err != "" || h.Wear < c.want-1e-9 || h.Wear > c.want+1e-9 {
			t.Errorf("%s: wear %v (%s), want %v", name, h.Wear, h.Err, c.want)
		}
	}
}

// A bridge that hides an NVMe disk behind SCSI calls itself well: that is nothing
// known of the disk.
func TestBridgeThatCallsItselfWell(t *testing.T) {
	const alone = `{"smartctl":{"exit_status":0},"device":{"type":"scsi","protocol":"SCSI"},"scsi_model_name":"Maker BR-9000","serial_number":"0000000000000000",
		"smart_support":{"available":true,"enabled":true},"smart_status":{"passed":true},"temperature":{"current":0,"drive_trip":0}%s}`
	known := Health{Wear: 0.1, At: noon.Add(-time.Hour)}
	if h := judgeSmart(fmt.Appendf(nil, alone, ""), 0, known, noon); !strings.Contains(h.Err, "passes nothing of the disk") || h.Passed != nil || !h.At.Equal(known.At) {
		t.Errorf("got %+v", h)
	}
	if h := judgeSmart([]byte(strings.Replace(fmt.Sprintf(alone, ""), "true}", "false}", 2)), 0, known, noon); h.Err == "" {
		t.Errorf("SMART that is off tells nothing: %+v", h)
	}
	for _, more := range []string{`,"scsi_grown_defect_list":0`, `,"power_on_time":{"hours":12}`, `,"scsi_percentage_used_endurance_indicator":0`,
		`,"scsi_error_counter_log":{"read":{"total_uncorrected_errors":0}}`} {
		if h := judgeSmart(fmt.Appendf(nil, alone, more), 0, known, noon); h.Err != "" || h.Passed == nil || len(h.Findings) != 0 {
			t.Errorf("a disk that tells %s answers for itself: %+v", more, h)
		}
	}
	zeros := `{"smartctl":{"exit_status":0},"device":{"type":"sntjmicron","protocol":"NVMe"},"model_name":"X","smart_status":{"passed":true,"nvme":{"value":0}},"temperature":{"current":-273},
		"nvme_smart_health_information_log":{"critical_warning":0,"temperature":-273,"available_spare":0,"available_spare_threshold":0,"percentage_used":0,"power_on_hours":0,"media_errors":0,"num_err_log_entries":0}}`
	if h := judgeSmart([]byte(zeros), 0, known, noon); !strings.Contains(h.Err, "all zeros (with -d sntjmicron)") || !h.At.Equal(known.At) {
		t.Errorf("got %+v", h)
	}
	if h := judgeSmart([]byte(strings.Replace(zeros, `"available_spare":0`, `"available_spare":100`, 1)), 0, known, noon); h.Err != "" {
		t.Errorf("a new disk: %+v", h)
	}
	failed := strings.Replace(fmt.Sprintf(alone, ""), `"passed":true`, `"passed":false`, 1)
	if h := judgeSmart([]byte(failed), 8, known, noon); h.Err != "" || len(h.Findings) == 0 {
		t.Errorf("a failure is never doubted: %+v", h)
	}
}

// The same id counts other things on other makers' disks, and a raw value may
// hold more than one figure.
func TestOtherMeaningsOfAnAttribute(t *testing.T) {
	raw := func(id int, name, value, text string) string {
		return fmt.Sprintf(`{"id":%d,"name":%q,"value":100,"thresh":0,"raw":{"value":%s,"string":%q}}`, id, name, value, text)
	}
	for what, x := range map[string]struct {
		attribute string
		found     int64 // 0: nothing
	}{
		"gigabytes read":               {raw(198, "Host_Reads_GiB", "48210", "48210"), 0},
		"sectors read":                 {raw(198, "Read_Sectors_Tot_Ct", "991288", "991288"), 0},
		"not in use":                   {raw(197, "Not_In_Use", "7", "7"), 0},
		"a firmware that flips it":     {raw(197, "Bogus_Current_Pend_Sect", "1", "1"), 0},
		"an id of a controller":        {raw(187, "Unknown_JMF_Attribute", "65", "65"), 0},
		"flash blocks":                 {raw(5, "Reallocate_NAND_Blk_Cnt", "3", "3"), 3},
		"retired blocks":               {raw(5, "Retired_Block_Count", "4", "4"), 4},
		"errors that ECC gave up":      {raw(187, "Uncorrectable_Error_Cnt", "2", "2"), 2},
		"pending, without a name":      {raw(197, "", "6", "6"), 6},
		"three words, the lowest is 9": {raw(5, "Reallocated_Sector_Ct", "131081", "9 (2 0)"), 9},
		"none, beside other counters":  {raw(5, "Reallocated_Sector_Ct", "8590000128", "0 (2 131072)"), 0},
		"of so many reads":             {raw(198, "Uncorrectable_Sector_Ct", "1234567890123", "5/4821"), 5},
		"a cable, of old":              {raw(199, "UDMA_CRC_Error_Count", "512", "512"), 0},
	} {
		h := judgeSmart(ata("", x.attribute), 0, Health{}, noon)
		got := int64(0)
		for _, f := range h.Findings {
			got = f.Value
		}
		if h.Err != "" || got != x.found || len(h.Findings) > 1 {
			t.Errorf("%s: found %d (%+v %s), want %d", what, got, h.Findings, h.Err, x.found)
		}
	}
	h := judgeSmart(ata("", raw(188, "Command_Timeout", "65537", "0 1 1")), 0, Health{}, noon)
	h = judgeSmart(ata("", raw(188, "Command_Timeout", "131074", "0 2 2"), raw(199, "UDMA_CRC_Error_Count", "0", "0")), 0, h, noon.Add(time.Hour))
	h = judgeSmart(ata("", raw(199, "UDMA_CRC_Error_Count", "41", "41")), 0, h, noon.Add(2*time.Hour))
	if len(h.Findings) != 1 || !strings.Contains(h.Findings[0].Text, "is 41, up from 0") || !strings.Contains(h.Findings[0].Text, "cable") {
		t.Errorf("got %+v", h.Findings)
	}
	sas := func(read, write string) []byte {
		return []byte(`{"smartctl":{},"device":{"protocol":"SCSI"},"smart_status":{"passed":true},"scsi_error_counter_log":{"read":{"total_uncorrected_errors":` + read + `},"write":{"total_uncorrected_errors":` + write + `},"verify":null}}`)
	}
	if h = judgeSmart(sas("3", "0"), 0, Health{}, noon); len(h.Findings) != 0 {
		t.Errorf("errors of old: %+v", h.Findings)
	}
	if h = judgeSmart(sas("3", `"2"`), 0, h, noon.Add(time.Hour)); len(h.Findings) != 1 || !strings.Contains(h.Findings[0].Text, "is 5, up from 3") {
		t.Errorf("got %+v", h.Findings)
	}
}

// Disks that are well in spite of odd figures.
func TestOddButWell(t *testing.T) {
	for name, c := range map[string]struct {
		text []byte
		exit int
	}{
		"the bridge returns no registers (bit 2), and the status came of the attributes": {ata("", attr(5, "Reallocated_Sector_Ct", 100, 10, "", "0")), 4},
		"Seagate packs three counters of timeouts":                                       {ata("", attr(188, "Command_Timeout", 100, 0, "", "8590065666")), 0},
		"a SMART log behind sntrealtek, without sensors": {[]byte(`{"smartctl":{"exit_status":0},"device":{"type":"sntrealtek","protocol":"NVMe"},"model_name":"X","smart_status":{"passed":true,"nvme":{"value":0}},
			"nvme_smart_health_information_log":{"critical_warning":0,"temperature":41,"available_spare":100,"available_spare_threshold":100,"percentage_used":0,"media_errors":0,"num_err_log_entries":412}}`), 0},
		"an old failure of the airflow sensor": {ata("", attr(190, "Airflow_Temperature_Cel", 70, 45, "past", "30")), 32},
		"errors logged years ago":              {ata(`,"ata_smart_error_log":{"extended":{"revision":1,"count":14}}`), 64},
		"a SAS disk":                           {[]byte(`{"smartctl":{"exit_status":0},"device":{"protocol":"SCSI"},"scsi_model_name":"ST4000","smart_status":{"passed":true},"temperature":{"current":33,"drive_trip":65},"scsi_grown_defect_list":0}`), 0},
	} {
		h := judgeSmart(c.text, c.exit, Health{Wear: -1}, noon)
		if h.Err != "" || len(h.Findings) != 0 || h.At.IsZero() {
			t.Errorf("%s: %q %+v", name, h.Err, h.Findings)
		}
	}
}

func TestRisingCounters(t *testing.T) {
	answer := func(timeouts, errors string) []byte {
		return ata(`,"ata_smart_error_log":{"summary":{"count":`+errors+`}}`, attr(188, "Command_Timeout", 100, 0, "", timeouts))
	}
	h := judgeSmart(answer("3", "7"), 64, Health{}, noon)
	h = judgeSmart(answer("3", "7"), 64, h, noon.Add(time.Hour))
	if len(h.Findings) != 0 {
		t.Fatalf("nothing rose: %+v", h.Findings)
	}
	h = judgeSmart(answer("5", "9"), 64, h, noon.Add(2*time.Hour))
	if len(h.Findings) != 2 || !strings.Contains(h.Findings[0].Text, "is 5, up from 3") || !strings.Contains(h.Findings[1].Text, "is 9, up from 7") {
		t.Fatalf("got %+v", h.Findings)
	}
	h = judgeSmart(answer("5", "9"), 64, h, noon.Add(72*time.Hour))
	if len(h.Findings) != 2 {
		t.Errorf("it is told for a week: %+v", h.Findings)
	}
	h = judgeSmart(answer("5", "9"), 64, h, noon.Add(300*time.Hour))
	if len(h.Findings) != 0 {
		t.Errorf("and no longer: %+v", h.Findings)
	}
}

func TestStandbyKeepsWhatWasKnown(t *testing.T) {
	known := judgeSmart(ata(`,"temperature":{"current":35}`), 0, Health{}, noon)
	h := judgeSmart([]byte(`{"smartctl":{"exit_status":3},"device":{"type":"sat"}}`), 3, known, noon.Add(time.Hour))
	if !h.Standby || h.Err != "" || !h.At.Equal(noon) || h.Temperature != 35 || h.Passed == nil {
		t.Errorf("got %+v", h)
	}
	// smartctl takes any failure to ask for the power mode for sleep.
	sleep := []byte(`{"smartctl":{"messages":[{"string":"Device is in SLEEP mode, exit(3)","severity":"information"}],"exit_status":3}}`)
	if h := judgeSmart(sleep, 3, Health{Wear: -1}, noon); h.Standby || !strings.Contains(h.Err, "no reason") {
		t.Errorf("a disk that never answered does not sleep: %+v", h)
	}
	if h := judgeSmart(sleep, 3, known, noon.Add(time.Hour)); !h.Standby || h.Err != "" {
		t.Errorf("got %+v", h)
	}
	if h := judgeSmart(ata(""), 0, h, noon.Add(2*time.Hour)); h.Standby {
		t.Error("it is awake again")
	}
}

// fakeSmartctl puts a smartctl in PATH that answers with a recording and counts.
func fakeSmartctl(t *testing.T, script string) (calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "calls")
	if err := os.WriteFile(filepath.Join(dir, "smartctl"), []byte("#!/bin/sh\necho \"$*\" >>"+log+"\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() []string {
		text, _ := os.ReadFile(log)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
}

func smartClient(t *testing.T, device, kind string) *Client {
	t.Helper()
	c := New("usb", Config{Mount: "/mnt", Disks: []Unit{{Name: "a", UUID: uuidA, Serial: "NVMESER003", Smart: &Smart{Device: device, Type: kind}}}})
	c.now = func() time.Time { return noon }
	return c
}

func TestSmartctlIsAskedSeldom(t *testing.T) {
	path, err := filepath.Abs("testdata/nvme_ok.json")
	if err != nil {
		t.Fatal(err)
	}
	calls := fakeSmartctl(t, "cat "+path)
	c := smartClient(t, "/dev/null", "sntjmicron")
	for range 3 {
		if h := c.askSmart(t.Context(), "a", device{})(false); h.Err != "" || h.Model != "QEMU NVMe Ctrl" {
			t.Fatalf("got %+v", h)
		}
	}
	if got := calls(); len(got) != 1 || got[0] != "--json -i -H -c -A -l error -n standby,3 -d sntjmicron -- /dev/null" {
		t.Errorf("smartctl was called with %q", got)
	}
	c.now = func() time.Time { return noon.Add(SmartEvery) }
	if h := c.askSmart(t.Context(), "a", device{})(false); !h.At.Equal(noon.Add(SmartEvery)) || len(calls()) != 2 {
		t.Errorf("got %+v", h)
	}
	fresh := smartClient(t, "/dev/null", "")
	fresh.Recall("a", Health{At: noon.Add(-time.Minute), Model: "recalled"})
	if h := fresh.askSmart(t.Context(), "a", device{})(false); h.Model != "recalled" || len(calls()) != 2 {
		t.Errorf("got %+v", h)
	}
}

func TestSmartctlThatHangs(t *testing.T) {
	calls := fakeSmartctl(t, "exec sleep 60")
	c := smartClient(t, "/dev/null", "sat")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	h := c.askSmart(ctx, "a", device{})(false)
	if h.Err == "" || h.Wear != -1 || time.Since(began) > 30*time.Second {
		t.Errorf("after %s: %+v", time.Since(began), h)
	}
	if h := c.askSmart(t.Context(), "a", device{})(false); h.Err == "" || len(calls()) != 1 {
		t.Errorf("a disk that hangs was asked again at once: %+v", h)
	}
}

func TestSmartctlWithoutData(t *testing.T) {
	for name, x := range map[string]struct{ recording, device, kind, hint string }{
		"unknown bridge": {"usb_unknown_bridge_needs_d.json", "/dev/null", "", "set type in smart: sat, sntjmicron"},
		"wrong type":     {"usb_wrong_snt_type.json", "/dev/null", "sntjmicron", `type "sntjmicron" does not suit`},
		"no SAT":         {"usb_d_sat_no_identify.json", "/dev/null", "sat", `type "sat" does not suit`},
		"permission":     {"permission_denied_sat.json", "/dev/null", "sat", "CAP_SYS_RAWIO"},
		"not there":      {"device_unplugged_nodev.json", "/nonexistent", "sat", "/dev/disk/by-id"},
	} {
		t.Run(name, func(t *testing.T) {
			path, err := filepath.Abs(filepath.Join("testdata", x.recording))
			if err != nil {
				t.Fatal(err)
			}
			fakeSmartctl(t, "cat "+path+"; exit 2")
			h := smartClient(t, x.device, x.kind).askSmart(t.Context(), "a", device{})(false)
			if !strings.Contains(h.Err, x.hint) || !strings.HasPrefix(h.Err, x.device+": ") {
				t.Errorf("got %q", h.Err)
			}
		})
	}
	t.Run("another disk", func(t *testing.T) {
		fakeSmartctl(t, `echo '{"smartctl":{"exit_status":0},"serial_number":"OTHER","smart_status":{"passed":true}}'`)
		c := smartClient(t, "/dev/null", "sat")
		if h := c.askSmart(t.Context(), "a", device{})(false); h.Err != "" {
			t.Errorf("a bridge has a serial number of its own: %+v", h)
		}
		c = smartClient(t, "/dev/null", "sat")
		c.cfg.Disks = append(c.cfg.Disks, Unit{Name: "b", Serial: "OTHER"})
		if h := c.askSmart(t.Context(), "a", device{})(false); !strings.Contains(h.Err, "is disk b, not a") {
			t.Errorf("got %+v", h)
		}
	})
	if why := unasked(t.Context(), "/dev/sdb", fmt.Errorf("running smartctl: %w", exec.ErrNotFound)); !strings.Contains(why, "apt install smartmontools") {
		t.Errorf("got %q", why)
	}
}

// The real smartctl on a device that has no SMART.
func TestRealSmartctl(t *testing.T) {
	testkit.Program(t, "smartctl", "/usr/sbin/smartctl")
	v := newVolume(t, uuidA)
	for _, kind := range []string{"", "sat", "scsi"} {
		h := smartClient(t, v.device, kind).askSmart(t.Context(), "a", device{})(false)
		if h.Err == "" || h.Standby || h.Passed != nil {
			t.Errorf("type %q: a loop device has no SMART, got %+v", kind, h)
		}
	}
}
