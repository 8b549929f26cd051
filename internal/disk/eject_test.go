package disk

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestHoldersAndUnmount(t *testing.T) {
	v, point := newVolume(t, uuidA), mountPoint(t)
	v.mount(t, point)
	if all, _, err := Holders(point); err != nil || len(all) != 0 {
		t.Errorf("%v %v", all, err)
	}
	f, err := os.Create(filepath.Join(point, "open"))
	if err != nil {
		t.Fatal(err)
	}
	all, _, err := Holders(point)
	if err != nil || len(all) != 1 || all[0].PID != os.Getpid() || all[0].Path != f.Name() || all[0].Name == "" {
		t.Errorf("%+v %v", all, err)
	}
	if err := Unmount(t.Context(), point); err == nil {
		t.Error("it was unmounted under an open file")
	}
	if on, err := Mounted(point); !on || err != nil {
		t.Error(on, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(point, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	other := newVolume(t, uuidB)
	other.mount(t, below)
	if got, err := MountsBelow(point); err != nil || !slices.Equal(got, []string{below}) {
		t.Errorf("%q %v", got, err)
	}
	run(t, "umount", below)
	if err := Sync(t.Context(), point); err != nil {
		t.Error(err)
	}
	if err := Unmount(t.Context(), point); err != nil {
		t.Error(err)
	}
	if on, err := Mounted(point); on || err != nil {
		t.Error(on, err)
	}
	v.mount(t, point)
	other.mount(t, point) // on top
	if err := Unmount(t.Context(), point); err == nil {
		t.Error("it is mounted twice: once more is to be unmounted")
	}
}

// A bridge that only one type suits. smartctl is a script that gives recorded
// answers.
func TestDetectTheBridge(t *testing.T) {
	v, point := newVolume(t, uuidA), mountPoint(t)
	c := New("usb", medium(point))
	if _, _, err := c.Detect(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing is mounted") {
		t.Error(err)
	}
	v.mount(t, point)
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	script := func(suits string) {
		text := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *'-d %s '*) cat %[2]s/testdata/nvme_ok.json; exit 0;; esac\ncat %[2]s/testdata/usb_d_sat_no_identify.json; exit 2\n", suits, here)
		if err := os.WriteFile(filepath.Join(bin, "smartctl"), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	script("sntasmedia")
	got, tried, err := c.Detect(t.Context())
	if err != nil || got.Type != "sntasmedia" || got.Model == "" || got.Device != v.device || len(tried) != 3 || tried[0].Type != "sat" {
		t.Errorf("%+v %+v %v", got, tried, err)
	}
	script("none of them")
	if got, tried, err := c.Detect(t.Context()); err == nil || len(tried) != len(bridges) {
		t.Errorf("%+v %+v", got, tried)
	}
}
