package disk

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDetectedBridge: a type that was detected is used for the very bridge, and a
// configured one counts more.
func TestDetectedBridge(t *testing.T) {
	root := t.TempDir()
	plug := func(port, vendor, product, serial string) {
		t.Helper()
		dir := filepath.Join(root, "bus/usb/devices", port)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{"idVendor": vendor, "idProduct": product, "serial": serial} {
			if text != "" {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	plug("2-1", "0bda", "9210", "012345678")
	plug("2-2", "152d", "0583", "")
	plug("2-3", "0bda", "9210", "876543210")
	for port, want := range map[string]string{"2-1": "0bda:9210:012345678", "2-2": "152d:0583:", "2-9": "", "": ""} {
		if got := bridgeOf(root, port); got != want {
			t.Errorf("%q is %q", port, got)
		}
	}
	c := New("usb", Config{Mount: "/mnt", Disks: []Unit{{Name: "a"}, {Name: "b", Smart: &Smart{Type: "sat"}}}})
	c.sysfs = root
	kind := func(unit, port string) string {
		u, why := c.smartUnit(unit, device{usb: port})
		if why != "" {
			return why
		}
		return u.Smart.Type
	}
	if got := kind("a", "2-1"); !strings.Contains(got, "cairn disk detect usb") {
		t.Errorf("nothing is known of it: %q", got)
	}
	c.Learn(Bridges{"0bda:9210:012345678": "sntrealtek"})
	if got := kind("a", "2-1"); got != "sntrealtek" {
		t.Errorf("its bridge was detected: %q", got)
	}
	if got := kind("a", "2-3"); !strings.Contains(got, "not configured") {
		t.Errorf("another bridge of the same make: %q", got)
	}
	if got := kind("b", "2-1"); got != "sat" {
		t.Errorf("its type is configured: %q", got)
	}
}
