package backup

import "testing"

func TestNearest(t *testing.T) {
	names := []string{"cloud", "usb", "erp-app", "mail", "backup"}
	for meant, want := range map[string]string{
		"clout": "cloud", "Cloud": "cloud", "usbb": "usb", "ubs": "usb", "erp-ap": "erp-app", "bakcup": "backup", "bakup": "backup",
		"xyz": "", "": "", "m": "", "éééé": "", "maiil": "mail",
	} {
		if got := Nearest(meant, names); got != want {
			t.Errorf("%q: %q, want %q", meant, got, want)
		}
	}
}
